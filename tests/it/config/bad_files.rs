//! Files that are no configuration at all.

use super::*;

/// The error of a file that cannot be used at all, causes included.
fn refused(content: &[u8]) -> String {
    let (_folder, outcome) = loaded_bytes(content, &[]);
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("config.toml"), "{error}");
    milvus_rebalancer::telemetry::Chain(&error).to_string()
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    for (text, expected) in [
        ("[execute\n", "line 1"),
        ("mode = \n", "line 1"),
        ("mode = 'act'\nmode = 'act'\n", "duplicate key"),
        ("[log]\n[http]\n[log]\n", "duplicate key"),
        ("just words", "line 1"),
        ("[execute]\ncalls_per_minute = 99999999999999999999\n", "number"),
    ] {
        let error = refused(text.as_bytes());
        assert!(error.contains("is not valid TOML") && error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn the_line_itself_is_not_shown_because_it_may_hold_a_secret() {
    for text in [
        "[connections.default]\npassword = \"hunter2\n",
        "[connections.default]\npassword = hunter2\n",
        "[connections.default]\npassword = \"a\" \"hunter2\"\n",
        "[connections.default]\ntoken = '''hunter2\n",
    ] {
        let error = refused(text.as_bytes());
        assert!(!error.contains("hunter2") && error.contains("line"), "{error}");
    }
}

#[test]
fn binary_files_are_no_text() {
    assert!(refused(b"mode = '\xff\xfe'").contains("byte 8"));
    assert!(refused(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0]).contains("is not valid TOML"));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let text = format!("mode = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(text.as_bytes()).contains("is not valid TOML"));
}

#[test]
fn huge_files_are_refused_without_reading_them() {
    let error = refused(&vec![b'#'; (1 << 20) + 1]);
    assert!(error.contains("larger than 1048576 bytes"), "{error}");
    if cfg!(target_os = "linux") {
        let endless = load(&sources(FileChoice::Given(PathBuf::from("/dev/zero")), &[]));
        assert!(matches!(endless, Err(ConfigError::TooLarge { .. })), "{endless:?}");
    }
    let (_folder, outcome) = loaded_bytes(&vec![b'#'; 1 << 20], &[]);
    outcome.unwrap();
}

#[test]
fn a_directory_or_a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing.toml")] {
        let outcome = load(&sources(FileChoice::Given(path.clone()), &[]));
        assert!(
            matches!(&outcome, Err(ConfigError::Unreadable { path: named, .. }) if *named == path),
            "{outcome:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let outcome = load(&sources(FileChoice::Given(path.clone()), &[]));
    // Root may read everything.
    match std::fs::read(&path) {
        Ok(_) => assert!(outcome.is_ok(), "{outcome:?}"),
        Err(_) => assert!(matches!(outcome, Err(ConfigError::Unreadable { .. })), "{outcome:?}"),
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_variable_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut sources = sources(FileChoice::Nothing, &[]);
    let name = OsString::from("MILVUS_REBALANCER__LOG__LEVEL");
    sources.environment.push((name, OsString::from_vec(vec![0xff])));
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains("log.level (MILVUS_REBALANCER__LOG__LEVEL): the value is not UTF-8"), "{error}");
}
