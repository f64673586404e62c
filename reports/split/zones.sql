SELECT * FROM zones
WHERE zone IN (SELECT name FROM names WHERE kind = 'zone' AND domains >= public_floor())
    OR zone IN (SELECT zone FROM open_zone)
