vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}

sub vcl_recv {
    # Else requests for what is never stored would wait for each other.
    if (req.url ~ "^/nc/") {
        return (pass);
    }
}
