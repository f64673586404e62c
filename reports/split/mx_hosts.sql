SELECT * FROM mx_hosts SEMI JOIN public_host USING (host)
