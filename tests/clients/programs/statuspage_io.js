// statuspage.io: everything it reads, by setApiUrl.
const path = require('path');
const {Statuspage} = require(path.join(process.env.CLIENTS, 'statuspage.io'));

async function main() {
  const client = new Statuspage('x');
  client.setApiUrl(process.env.BASE);
  const {api} = client;
  const names = rows => rows.map(row => row.name).sort();
  const [status, summary, components] = [await api.getStatus(), await api.getSummary(), await api.getComponents()];
  console.log(JSON.stringify({
    page: status.page.name,
    status: [status.status.indicator, status.status.description],
    summary: [names(summary.incidents), names(summary.scheduled_maintenances)],
    components: names(components.components),
    incidents: names((await api.incidents.getAll()).incidents),
    unresolved: names((await api.incidents.getUnresolved()).incidents),
    upcoming: names((await api.scheduledMaintenances.getUpcoming()).scheduled_maintenances),
  }));
}

main().catch(error => { console.error(error); process.exit(1); });
