-- How each person's week was used, as shares of the time worked: billable, by hand, idle. Activity is the share with
-- keyboard or mouse of the time in which they were watched.
SELECT
    daily.organization_id,
    organizations.name AS organization,
    date_trunc('week', daily.date)::date AS week,
    daily.user_id,
    users.name AS person,
    count(DISTINCT daily.date) AS days,
    sum(daily.tracked) / 3600.0 AS hours,
    sum(daily.billable)::numeric / nullif(sum(daily.tracked), 0) AS billable_share,
    sum(daily.manual)::numeric / nullif(sum(daily.tracked), 0) AS manual_share,
    sum(daily.idle)::numeric / nullif(sum(daily.tracked), 0) AS idle_share,
    sum(daily.overall)::numeric / nullif(sum(daily.input_tracked), 0) AS activity
FROM tap_hubstaff.daily_activities AS daily
LEFT JOIN tap_hubstaff.organizations ON organizations.id = daily.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = daily.user_id
GROUP BY 1, 2, 3, 4, 5
