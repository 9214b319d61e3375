//! Which passwords may be chosen.

mod denied;

use super::*;

fn check(password: &str, about: &[&str], then: Result<(), Unacceptable>) {
    assert_eq!(Password::new(password.to_owned()).acceptable(about), then, "{password}");
}

#[test]
fn what_may_be_chosen() {
    let about = &["ann.smith@example.com", "ann.smith", "Marketplace", "ann"];
    let long = |characters: usize| "häuserzeile ".chars().cycle().take(characters).collect::<String>();
    for (password, then) in [
        ("correct horse battery", Ok(())),
        ("kraxelhuber gipfelkreuz", Ok(())),
        ("нет пароля надежнее", Ok(())),
        ("🐢🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔", Ok(())), // twelve characters of four bytes
        ("no signs nor digits", Ok(())),
        ("a\u{308}o\u{308}u\u{308}a\u{308}o\u{308}u\u{308}", Err(Unacceptable::TooShort)), // six when composed
        ("ﷺ", Ok(())),                                                                     // eighteen when normalised
        ("", Err(Unacceptable::TooShort)),
        ("elevenchars", Err(Unacceptable::TooShort)),
        (&long(128), Ok(())),
        (&long(129), Err(Unacceptable::TooLong)),
        ("passwordpassword", Err(Unacceptable::TooCommon)),
        ("PassWordPassWord", Err(Unacceptable::TooCommon)),
        ("ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ", Err(Unacceptable::TooCommon)),
        ("qwertyuiop123", Err(Unacceptable::TooCommon)),
        ("1qaz2wsx3edc", Err(Unacceptable::TooCommon)),
        ("123456789012", Err(Unacceptable::TooCommon)),
        ("P@ssw0rd2024", Err(Unacceptable::TooCommon)),
        ("aaaaaaaaaaaaaa", Err(Unacceptable::TooCommon)),
        ("correcthorsebatterystaple", Err(Unacceptable::TooCommon)),
        ("# of those that come first", Ok(())),
        ("ann.smith@example.com", Err(Unacceptable::TooPersonal)),
        ("Ann.Smith@Example.com1", Err(Unacceptable::TooPersonal)),
        ("ANN.SMITH2024", Err(Unacceptable::TooPersonal)),
        ("Marketplace1!", Err(Unacceptable::TooPersonal)),
        ("my marketplace", Err(Unacceptable::TooPersonal)),
        ("marketplacemarketplace and", Err(Unacceptable::TooPersonal)), // twice
        ("ann annn ann an ann annan", Ok(())),                          // too short to be looked for
        ("the marketplace closes at seven", Ok(())),                    // little of it
    ] {
        check(password, about, then);
    }
    check("Ann-ann-annA", &["ann-ANN-anna"], Err(Unacceptable::TooPersonal));
    check("correct horse battery", &["", " "], Ok(()));
}

#[test]
fn a_password_is_never_shown() {
    let password: Password = serde_json::from_str("\"hunter2hunter2\"").unwrap();
    assert_eq!(format!("{password:?} {password:#?}"), "Password(…) Password(…)");
    let why = serde_json::from_str::<Password>(&format!("\"{}\"", "secret".repeat(1000))).unwrap_err().to_string();
    assert!(!why.contains("secret"), "{why}");
}

#[test]
fn codes_never_change() {
    let all = [Unacceptable::TooShort, Unacceptable::TooLong, Unacceptable::TooCommon, Unacceptable::TooPersonal];
    assert_eq!(all.map(Unacceptable::code), ["too-short", "too-long", "too-common", "too-personal"]);
}
