use bytes::Bytes;
use http_body_util::StreamBody;

use super::*;
use crate::exchange::{Protocol, Scheme};
use crate::upstream::test_origin::{request, request_with};

fn outbound(req: Box<Request>) -> http::Request<Body> {
    message(OutboundRequest::new(req, &Pseudonym::random()).unwrap())
}

fn message(mut req: OutboundRequest) -> http::Request<Body> {
    let content = req.take_content().unwrap();
    req.message(content)
}

fn streamed() -> Body {
    Body::boxed(StreamBody::new(futures_util::stream::pending()))
}

fn text<'a>(message: &'a http::Request<Body>, name: &str) -> Vec<&'a str> {
    message.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn the_target_is_in_origin_form_and_host_is_the_targets() {
    let message = outbound(request(Method::GET, "/a%2fb?q=%20&"));
    assert_eq!(message.uri().to_string(), "/a%2fb?q=%20&");
    assert_eq!(text(&message, "host"), ["site.test"]);
    let asterisk = outbound(request(Method::OPTIONS, "*"));
    assert_eq!(asterisk.uri().to_string(), "*");
}

#[test]
fn our_own_fields_are_set_after_the_clients_hop_by_hop_fields_went() {
    let message = outbound(request_with(
        Method::GET,
        &[("connection", "x-forwarded-for, forwarded, host, x-private"), ("x-private", "1")],
    ));
    assert_eq!(text(&message, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(text(&message, "x-forwarded-proto"), ["http"]);
    assert_eq!(text(&message, "x-forwarded-host"), ["site.test"]);
    assert_eq!(text(&message, "forwarded"), ["for=192.0.2.7;host=site.test;proto=http"]);
    assert_eq!(text(&message, "x-request-id"), ["00000000000000000000000000000007"]);
    assert!(text(&message, "x-private").is_empty() && text(&message, "connection").is_empty());
}

#[test]
fn what_a_trusted_proxy_said_is_appended_to() {
    let mut req = request_with(
        Method::GET,
        &[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "203.0.113.10"),
            ("forwarded", "for=203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "theirs"),
        ],
    );
    req.target.scheme = Scheme::Https;
    let message = outbound(req);
    assert_eq!(text(&message, "x-forwarded-for"), ["203.0.113.9, 203.0.113.10, 192.0.2.7"]);
    assert_eq!(text(&message, "forwarded"), ["for=203.0.113.9, for=192.0.2.7;host=site.test;proto=https"]);
    assert_eq!(text(&message, "x-forwarded-proto"), ["https"]);
    assert_eq!(text(&message, "x-request-id"), ["theirs"]);
}

#[test]
fn a_request_that_comes_around_is_a_loop() {
    let pseudonym = Pseudonym::random();
    let first = OutboundRequest::new(request_with(Method::GET, &[("via", "1.0 other")]), &pseudonym);
    let message = message(first.unwrap());
    assert_eq!(text(&message, "via")[0], "1.0 other");
    let mut second = request(Method::GET, "/");
    second.fields = message.headers().clone().into();
    let error = OutboundRequest::new(second, &pseudonym).unwrap_err();
    assert_eq!(error.kind, ProxyErrorType::ProxyLoopDetected);
    let other_edge = request_with(Method::GET, &[("via", "1.1 seawall-0123456789abcdef")]);
    assert!(OutboundRequest::new(other_edge, &pseudonym).is_ok());
}

#[test]
fn via_names_the_protocol_the_client_used() {
    for (protocol, version) in
        [(Protocol::Http10, "1.0 "), (Protocol::Http11, "1.1 "), (Protocol::Http2, "2.0 ")]
    {
        let message = outbound(Box::new(Request { protocol, ..*request(Method::GET, "/") }));
        assert!(text(&message, "via")[0].starts_with(version), "{:?}", text(&message, "via"));
    }
}

#[test]
fn content_is_framed_once() {
    let mut chunked = request_with(Method::POST, &[("transfer-encoding", "chunked")]);
    chunked.body = streamed();
    let message = outbound(chunked);
    assert_eq!(
        (text(&message, "transfer-encoding"), text(&message, "content-length")),
        (vec!["chunked"], vec![])
    );

    let mut stated = request_with(Method::GET, &[("content-length", "5")]);
    stated.body = streamed();
    let message = outbound(stated);
    assert_eq!((text(&message, "transfer-encoding"), text(&message, "content-length")), (vec![], vec!["5"]));

    let mut whole = request_with(Method::PUT, &[("content-length", "05")]);
    whole.body = Body::Full(Bytes::from_static(b"hello"));
    assert_eq!(text(&outbound(whole), "content-length"), ["5"]);

    assert!(text(&outbound(request(Method::GET, "/")), "content-length").is_empty());
    assert_eq!(text(&outbound(request(Method::POST, "/")), "content-length"), ["0"]);
}

#[test]
fn only_an_upgrade_that_is_wanted_is_asked_for() {
    let h2c = [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    let message = outbound(request_with(Method::GET, &h2c));
    assert!(["connection", "upgrade", "http2-settings"].iter().all(|name| text(&message, name).is_empty()));
    let mut websocket = request(Method::GET, "/");
    websocket.upgrade = Some(HeaderValue::from_static("websocket"));
    let message = outbound(websocket);
    assert_eq!(
        (text(&message, "connection"), text(&message, "upgrade")),
        (vec!["upgrade"], vec!["websocket"])
    );
}

#[test]
fn the_key_of_a_handshake_is_passed_on_as_it_is() {
    let websocket = |lines: &[(&'static str, &'static str)]| {
        let mut req = request_with(Method::GET, lines);
        req.upgrade = Some(HeaderValue::from_static("websocket"));
        let message = outbound(req);
        text(&message, "sec-websocket-key").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(websocket(&[("sec-websocket-key", "1")]), ["1"]);
    // It is for the origin server to refuse.
    assert_eq!(websocket(&[("sec-websocket-key", "1"), ("sec-websocket-key", "2")]), ["1", "2"]);
    let for_the_edge_alone = [("connection", "upgrade, sec-websocket-key"), ("sec-websocket-key", "1")];
    assert!(websocket(&for_the_edge_alone).is_empty());
}

#[test]
fn what_may_be_sent_again_is_kept() {
    for method in [Method::GET, Method::POST] {
        let mut req = OutboundRequest::new(request(method, "/"), &Pseudonym::random()).unwrap();
        assert!(req.take_content().is_some() && req.take_content().is_some() && req.is_at_hand());
    }
    let post = Box::new(Request { body: streamed(), ..*request(Method::POST, "/") });
    let mut post = OutboundRequest::new(post, &Pseudonym::random()).unwrap();
    let content = post.take_content().unwrap();
    assert!(post.take_content().is_none() && !post.is_at_hand());
    post.put_back(content);
    assert!(post.is_at_hand());
}
