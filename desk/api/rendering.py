"""An answer of /v1 as bytes of JSON."""

import json
from typing import Any

import orjson
from django.http import HttpRequest
from ninja.renderers import BaseRenderer
from ninja.responses import NinjaJSONEncoder


class FastJSON(BaseRenderer):
    """orjson, which writes a page of a hundred incidents in a fifth of the standard library's time.

    What a client put into `metadata` may hold what orjson refuses, integers of more than 64 bits
    and halves of a surrogate pair: the standard library writes those.
    """

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        try:
            return orjson.dumps(
                data, default=NinjaJSONEncoder().default, option=orjson.OPT_NON_STR_KEYS
            )
        except orjson.JSONEncodeError:
            return json.dumps(data, cls=NinjaJSONEncoder).encode()
