SELECT * FROM rollovers
WHERE host IN (SELECT host FROM public_host)
ORDER BY host, leaf
