-- What each person worked in each week from Monday to Sunday, and what that comes to at the rate that Hubstaff has for
-- the member now: an earlier rate is not in the list of members. The week in which activities begin may be read in part.
SELECT
    activities.organization_id,
    organizations.name AS organization,
    date_trunc('week', activities.date)::date AS week,
    activities.user_id,
    users.name AS person,
    sum(activities.tracked) / 3600.0 AS hours,
    members.pay_rate::numeric AS pay_rate,
    members.currency,
    round(sum(activities.tracked) / 3600.0 * members.pay_rate::numeric, 2) AS amount
FROM tap_hubstaff.activities
LEFT JOIN tap_hubstaff.organizations ON organizations.id = activities.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = activities.user_id
LEFT JOIN tap_hubstaff.members
    ON members.organization_id = activities.organization_id AND members.user_id = activities.user_id
-- Activities that were deleted stay in the table. Work sessions are built again without them.
WHERE EXISTS (
    SELECT 1 FROM tap_hubstaff.time_sessions AS sessions
    WHERE
        sessions.superseded_by IS NULL
        AND sessions.organization_id = activities.organization_id
        AND sessions.user_id = activities.user_id
        AND coalesce(sessions.project_id, 0) = coalesce(activities.project_id, 0)
        AND coalesce(sessions.task_id, 0) = coalesce(activities.task_id, 0)
        AND sessions.started_at <= activities.starts_at
        AND sessions.stopped_at > activities.starts_at
)
GROUP BY 1, 2, 3, 4, 5, 7, 8
