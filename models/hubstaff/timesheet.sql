-- Work with its exact start and stop, one row for each stretch of work on one task, with names. Times are UTC.
SELECT
    sessions.organization_id,
    organizations.name AS organization,
    sessions.date,
    sessions.user_id,
    users.name AS person,
    sessions.project_id,
    projects.name AS project,
    sessions.task_id,
    tasks.summary AS task,
    sessions.started_at,
    sessions.stopped_at,
    sessions.tracked / 3600.0 AS hours,
    sessions.billable / 3600.0 AS billable_hours
FROM tap_hubstaff.time_sessions AS sessions
LEFT JOIN tap_hubstaff.organizations ON organizations.id = sessions.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = sessions.user_id
LEFT JOIN tap_hubstaff.projects ON projects.id = sessions.project_id
LEFT JOIN tap_hubstaff.tasks ON tasks.id = sessions.task_id
-- A session that became part of another one, or is gone, stays in the table and names its successor.
WHERE sessions.superseded_by IS NULL
