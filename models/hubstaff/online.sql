-- Who was tracking time when the tap last looked, on what, and when the others were last seen.
SELECT
    activity.organization_id,
    organizations.name AS organization,
    activity.user_id,
    users.name AS person,
    activity.online,
    activity.last_client_activity,
    projects.name AS last_project,
    tasks.summary AS last_task
FROM tap_hubstaff.last_activities AS activity
LEFT JOIN tap_hubstaff.organizations ON organizations.id = activity.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = activity.user_id
LEFT JOIN tap_hubstaff.projects ON projects.id = activity.last_project_id
LEFT JOIN tap_hubstaff.tasks ON tasks.id = activity.last_task_id
-- A member who is gone stays in the table, marked, with `changes_only` or ACTIVATE_VERSION.
WHERE activity._sdc_deleted_at IS NULL
