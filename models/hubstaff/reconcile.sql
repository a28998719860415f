-- Where daily activities and activities differ, by day and person: then one of the two tables is incomplete, or has what
-- was moved or deleted. Activities count where a work session has them, as in payroll_week. No row is the good news. Of
-- each organization it leaves out the first and the last day of its activities, which may be read in part, and what is
-- outside: Hubstaff keeps daily activities for longer.
WITH by_day AS (
    SELECT organization_id, user_id, date, sum(tracked) AS tracked
    FROM tap_hubstaff.daily_activities
    GROUP BY 1, 2, 3
),
by_activity AS (
    SELECT organization_id, user_id, date, sum(tracked) AS tracked
    FROM tap_hubstaff.activities
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
    GROUP BY 1, 2, 3
),
days AS (
    SELECT organization_id, min(date) AS first_day, max(date) AS last_day
    FROM tap_hubstaff.activities
    GROUP BY 1
)
SELECT
    organization_id,
    organizations.name AS organization,
    date,
    user_id,
    users.name AS person,
    coalesce(by_day.tracked, 0) / 3600.0 AS daily_hours,
    coalesce(by_activity.tracked, 0) / 3600.0 AS activity_hours
FROM by_day
FULL JOIN by_activity USING (organization_id, user_id, date)
JOIN days USING (organization_id)
LEFT JOIN tap_hubstaff.organizations ON organizations.id = organization_id
LEFT JOIN tap_hubstaff.users ON users.id = user_id
WHERE
    date > days.first_day
    AND date < days.last_day
    AND by_day.tracked IS DISTINCT FROM by_activity.tracked
