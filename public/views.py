"""Where "I have this problem too" is handed in."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from public import reporting
from public.phrases import PHRASES
from public.words import language_of
from subscribers import addresses

TOO_MANY = 429
SLUG_CHARS_MAX = 64


# No cookie counts here, so there is nothing that another site could borrow: the page is a file, and holds no token.
@csrf_exempt
@require_POST
def report(request: HttpRequest) -> HttpResponse:
    """Count it and say thanks; a second time within the hour answers 429 in plain words."""
    asked = request.POST.get("language", "")[:8]
    language = language_of(asked)
    remote = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    network = addresses.network(remote, forwarded, settings.TRUSTED_PROXIES)
    slug = request.POST.get("component", "")[:SLUG_CHARS_MAX]
    try:
        reporting.report(slug=slug, network=network, now=timezone.now())
    except reporting.AlreadyCounted:
        answer = HttpResponse(
            f"{PHRASES[language]['too_many']}\n",
            status=TOO_MANY,
            content_type="text/plain; charset=utf-8",
        )
        answer["Retry-After"] = str(int(reporting.HOUR.total_seconds()))
        return answer
    # The first language's pages lie at the root.
    has_own = (settings.PUBLISH_DIR / language / "thanks").exists()
    answer = HttpResponseRedirect(f"/{language}/thanks" if has_own else "/thanks")
    answer.status_code = 303
    return answer


urlpatterns = [path("report", report, name="report")]
