-- Hours by day, person and project, with names. Days are those of the organization's time zone.
SELECT
    daily.organization_id,
    organizations.name AS organization,
    daily.date,
    daily.user_id,
    users.name AS person,
    daily.project_id,
    projects.name AS project,
    projects.client_id,
    clients.name AS client,
    sum(daily.tracked) / 3600.0 AS hours,
    sum(daily.billable) / 3600.0 AS billable_hours,
    sum(daily.manual) / 3600.0 AS manual_hours
FROM tap_hubstaff.daily_activities AS daily
LEFT JOIN tap_hubstaff.organizations ON organizations.id = daily.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = daily.user_id
LEFT JOIN tap_hubstaff.projects ON projects.id = daily.project_id
LEFT JOIN tap_hubstaff.clients ON clients.id = projects.client_id
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
