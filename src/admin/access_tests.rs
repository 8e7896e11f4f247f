//! Who is let in, case by case.

use std::io::Write;

use super::*;

const PEER: Peer = Peer::Unix { user: Some(1000), process: None };

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (header::HeaderName::from_static(name), header::HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn status(access: &Access, method: &Method, pairs: &[(&'static str, &str)]) -> u16 {
    match access.admit(method, &Uri::from_static("/v1/status"), &headers(pairs), PEER) {
        Ok(_) => 200,
        Err(problem) => problem.status,
    }
}

fn file(text: &str) -> (tempfile::NamedTempFile, PathBuf) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_owned();
    (file, path)
}

#[test]
fn only_own_names_and_plain_addresses_are_answered() {
    let settings =
        AdminSettings { allowed_hosts: vec!["Admin.Example".to_owned()], ..AdminSettings::default() };
    let access = Access::new(&settings);
    for (host, expected) in [
        ("localhost", 200),
        ("LOCALHOST:9096", 200),
        ("127.0.0.1:9096", 200),
        ("[::1]:9096", 200),
        ("[::1]", 200),
        ("10.0.0.7", 200),
        ("admin.example:443", 200),
        ("evil.example", 421),
        ("localhost.evil.example:9096", 421),
        ("127.0.0.1.evil.example", 421),
        ("user@localhost", 400),
        ("", 400),
    ] {
        assert_eq!(status(&access, &Method::GET, &[("host", host)]), expected, "{host}");
    }
    assert_eq!(status(&access, &Method::GET, &[]), 400);
    assert_eq!(status(&access, &Method::GET, &[("host", "localhost"), ("host", "evil.example")]), 400);
}

#[test]
fn other_sites_neither_read_nor_write() {
    let access = Access::default();
    let host = ("host", "localhost:9096");
    for method in [Method::GET, Method::POST] {
        assert_eq!(status(&access, &method, &[host, ("origin", "http://localhost:9096")]), 200);
        for origin in ["http://evil.example", "http://localhost:9097", "null", "localhost:9096"] {
            assert_eq!(status(&access, &method, &[host, ("origin", origin)]), 403, "{method} {origin}");
        }
        assert_eq!(status(&access, &method, &[host, ("sec-fetch-site", "cross-site")]), 403);
    }
    let link = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(status(&access, &Method::GET, &link), 200, "a person follows a link");
    assert_eq!(status(&access, &Method::POST, &link), 403, "a form of another site");
    assert_eq!(status(&access, &Method::GET, &[host, ("sec-fetch-site", "same-origin")]), 200);
}

#[test]
fn two_tokens_have_two_roles() {
    let (_view, view_path) = file("look\n");
    let (_operate, operate_path) = file("act\n");
    let basic = format!("Basic {}", BASE64_STANDARD.encode("anybody:act"));
    let host = ("host", "localhost");
    let both = AdminSettings {
        view_token_file: Some(view_path),
        operate_token_file: Some(operate_path.clone()),
        ..AdminSettings::default()
    };
    let only_operate = AdminSettings { operate_token_file: Some(operate_path), ..AdminSettings::default() };
    for (settings, token, get, post) in [
        (&both, "Bearer look", 200, 403),
        (&both, "Bearer act", 200, 200),
        (&both, "bearer act", 200, 200),
        (&both, &*basic, 200, 200),
        (&both, "Bearer wrong", 401, 401),
        (&both, "Bearer ", 401, 401),
        (&both, "Bearer actact", 401, 401),
        (&both, "Digest act", 401, 401),
        (&only_operate, "Bearer look", 200, 403),
        (&only_operate, "Bearer act", 200, 200),
    ] {
        let access = Access::new(settings);
        let pairs = [host, ("authorization", token)];
        assert_eq!(status(&access, &Method::GET, &pairs), get, "{token}");
        assert_eq!(status(&access, &Method::POST, &pairs), post, "{token}");
    }
    let none = Access::new(&both);
    assert_eq!(status(&none, &Method::GET, &[host]), 401);
    assert_eq!(status(&Access::default(), &Method::POST, &[host]), 200, "nothing is configured");
}

#[test]
fn a_token_is_read_anew_and_one_that_cannot_be_read_lets_nobody_in() {
    let (file, path) = file("first");
    let settings = AdminSettings { operate_token_file: Some(path.clone()), ..AdminSettings::default() };
    let access = Access::new(&settings);
    let ask = |token| status(&access, &Method::POST, &[("host", "localhost"), ("authorization", token)]);
    assert_eq!(ask("Bearer first"), 200);
    std::fs::write(&path, "second").unwrap();
    assert_eq!((ask("Bearer first"), ask("Bearer second")), (403, 200));
    drop(file);
    assert_eq!(ask("Bearer second"), 503);
}

#[test]
fn the_record_says_who_and_from_where() {
    let access = Access::default();
    let given = headers(&[("host", "localhost"), (USER_HEADER, " ann\t ")]);
    let caller = access.admit(&Method::POST, &Uri::from_static("/"), &given, PEER).unwrap();
    assert_eq!((caller.who.as_str(), caller.origin.as_str()), ("ann (no token)", "user 1000"));
}
