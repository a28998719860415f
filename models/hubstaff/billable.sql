-- Billable and other hours by month, client and project.
SELECT
    daily.organization_id,
    organizations.name AS organization,
    date_trunc('month', daily.date)::date AS month,
    projects.client_id,
    clients.name AS client,
    daily.project_id,
    projects.name AS project,
    sum(daily.tracked) / 3600.0 AS hours,
    sum(daily.billable) / 3600.0 AS billable_hours,
    sum(daily.tracked - daily.billable) / 3600.0 AS other_hours,
    sum(daily.billable)::numeric / nullif(sum(daily.tracked), 0) AS billable_share
FROM tap_hubstaff.daily_activities AS daily
LEFT JOIN tap_hubstaff.organizations ON organizations.id = daily.organization_id
LEFT JOIN tap_hubstaff.projects ON projects.id = daily.project_id
LEFT JOIN tap_hubstaff.clients ON clients.id = projects.client_id
GROUP BY 1, 2, 3, 4, 5, 6, 7
