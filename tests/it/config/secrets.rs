//! Passwords and tokens: used, and told nobody.

use super::*;

const PLANTED: &str = "hunter2-planted-secret";

#[test]
fn they_are_in_the_settings_and_nowhere_else() {
    let text = format!(
        "[connections.default]\nendpoint = 'https://m:1'\nuser = 'u'\npassword = '{PLANTED}'\n\
         [connections.other]\nendpoint = 'https://m:1'\ntoken = '{PLANTED}'\n"
    );
    let loaded = loaded(&text, &[]).unwrap();
    assert_eq!(secret(loaded.config.connections["default"].password.as_ref()), PLANTED);
    assert_eq!(secret(loaded.config.connections["other"].token.as_ref()), PLANTED);
    for shown in [
        loaded.show(),
        format!("{loaded:?}"),
        format!("{:#?}", loaded.config),
        json(&loaded.config).to_string(),
    ] {
        assert!(!shown.contains(PLANTED), "{shown}");
    }
    assert!(loaded.show().contains("# connections.default.password is set, and not shown"));
}

#[test]
fn problems_do_not_tell_them() {
    let lines = [
        format!("[connections.default]\npassword = ['{PLANTED}']"),
        format!("[connections.default]\npassword = {{ {PLANTED} = 1 }}"),
        format!("[connections.default]\nendpoint = 'http://root:{PLANTED}@milvus:19530'"),
        format!("[connections.default]\nendpoint = 'root:{PLANTED}@milvus:19530'"),
        format!("[node_metrics]\nurl = 'http://root:{PLANTED}@{{host}}/metrics'"),
    ];
    for line in lines {
        let error = loaded(&line, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(PLANTED), "{error:?}");
    }
    let digits = loaded("[connections.default]\npassword = 4815162342\n", &[]).unwrap_err().to_string();
    assert!(digits.contains("connections.default.password") && !digits.contains("4815162342"), "{digits}");
}

#[test]
fn files_hold_them_with_or_without_a_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    for content in [PLANTED.to_owned(), format!("{PLANTED}\n"), format!("{PLANTED}\r\n")] {
        std::fs::write(&path, content).unwrap();
        let loaded = loaded(&from_file(&path), &[]).unwrap();
        assert_eq!(secret(loaded.config.connections["default"].password.as_ref()), PLANTED);
        assert!(!loaded.show().contains(PLANTED));
    }
}

#[test]
fn bad_files_of_secrets_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    for (content, expected) in [
        (Vec::new(), "is empty"),
        (b"\n".to_vec(), "is empty"),
        (vec![0xff, 0xfe], "is not UTF-8"),
        (vec![b'x'; (64 << 10) + 1], "is larger than"),
    ] {
        std::fs::write(&path, content).unwrap();
        let found = problems(&from_file(&path), &[]);
        assert_eq!(keys(&found), ["connections.default.password_file"]);
        assert!(found[0].message.contains(expected), "{}", found[0]);
    }
    let found = problems(&from_file(folder.path()), &[]);
    assert!(found[0].message.contains("cannot read"), "{}", found[0]);
}

#[test]
fn a_secret_given_twice_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, PLANTED).unwrap();
    let found = problems(&format!("{}password = 'x'\n", from_file(&path)), &[]);
    assert_eq!(keys(&found), ["connections.default.password_file"]);
}

fn from_file(path: &Path) -> String {
    format!(
        "[connections.default]\nendpoint = 'https://m:1'\nuser = 'u'\npassword_file = '{}'\n",
        path.display()
    )
}
