//! Makes the list of denied passwords, from what people are known to put together when they are asked for more
//! characters. It must never hold one that the rule of length refuses anyway.
//!
//! `UPDATE=1 cargo test denied` writes the file anew.

use std::collections::BTreeSet;

use crate::identity::folding::folded;
use crate::identity::password::{CHARACTERS_MAX, CHARACTERS_MIN};

const FILE_BYTES_MAX: usize = 64 * 1024;
const HEADING: &str = "\
# Passwords of twelve characters or more that are guessed first, folded.
# Made by src/password/denied.rs: change that, and run UPDATE=1 cargo test denied
";

/// Rows and columns of keyboards, and the ways over them that hands know.
const WALKS: &str = r##"
    qwertyuiop qwertyuiopasdfghjklzxcvbnm qwertyuiop[] qwertyuiop[]\ qwertyuiop1234567890 asdfghjkl;' asdfghjklzxcvbnm asdfghjklqwertyuiop zxcvbnm,./
    zxcvbnmasdfghjkl zxcvbnmasdfghjklqwertyuiop qwertzuiop qwertzuiopasdfghjkl qwertzuiopü+ asdfghjklöä azertyuiop azertyuiopqsdfghjklm
    azertyuiopqsdfghjklmwxcvbn 1234567890 1234567890-= 1234567890qwertyuiop 12345qwert 12345qwertasdfg 123qweasdzxc 123qwe123qwe qwe123qwe123
    qweasdzxc qweasdzxc123 qwertyasdfgh qwertyasdfghzxcvbn qwerasdfzxcv asdfqwerzxcv zxcvasdfqwer 1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/
    zaq12wsxcde34rfv zaq1xsw2cde3vfr4bgt5 !qaz@wsx#edc$rfv 1qaz!qaz2wsx@wsx 1qaz@wsx3edc 1qazxsw23edc 1qazxsw23edcvfr4 qazwsxedcrfvtgbyhnujmikolp
    qazxswedcvfrtgb plokijuhygtf 1q2w3e4r5t6y7u8i9o0p 1q2w3e4r1q2w3e4r q1w2e3r4t5y6u7i8o9p0 1a2b3c4d5e6f7g8h9i a1b2c3d4e5f6g7h8 1a2s3d4f5g6h7j8k9l
    a1s2d3f4g5h6 q1w2e3r4t5 1qw23er45ty67ui8 !@#$%^&*() !@#$%^&*()_+ 1!2@3#4$5%6^ 1234!@#$qwer 1234qwer!@#$ qwer1234!@#$ 1234qwerasdf qwer1234asdf
    qwerty123456 123456qwerty qwerty654321 qwertyqwerty asdfasdfasdf zxcvzxcvzxcv qweqweqweqwe asdasdasdasd zxczxczxczxc йцукенгшщзхъ
    йцукенгшщзфывапролд poiuytrewq lkjhgfdsa mnbvcxz poiuytrewqlkjhgfdsamnbvcxz 0987654321poiuytrewq 147258369 147852369 741852963 159357258456
    123654789 789456123 789456123000 112233445566 11223344556677889900 121212121212 123123123123 123321123321 101010101010 100200300400 123454321
    000111222333 111222333444 111122223333 abcdefghijklmnopqrstuvwxyz zyxwvutsrqponmlkjihgfedcba abc123abc123 abcd1234abcd abcdef123456 123456abcdef
    abcabcabcabc aabbccddeeff abcdabcdabcd 123abc456def a1a2a3a4a5a6 314159265358 3141592653589793 271828182845
"##;

/// Words that passwords are made of.
const WORDS: &str = r##"
    password passwort passw0rd p@ssword p@ssw0rd pa$$word pa$$w0rd p4ssw0rd motdepasse contrasena contraseña wachtwoord senha parola haslo пароль
    admin administrator root system manager master user guest test tester testing demo default changeme change secret letmein welcome willkommen
    bienvenue hello login access server database oracle cisco windows microsoft google facebook internet computer samsung android iphone company
    office temp temporary trustno1 iloveyou loveyou ilove forever princess prinzessin sunshine superman batman spiderman ironman pokemon pikachu
    starwars matrix dragon monkey tiger shadow phoenix falcon eagle football fussball baseball basketball soccer hockey arsenal liverpool chelsea
    barcelona realmadrid juventus manchester ferrari porsche mercedes mustang harley corvette yamaha michael jordan jennifer jessica michelle charlie
    daniel thomas andrew anthony robert william ashley amanda nicole hannah samantha elizabeth alexander benjamin christian jesus god angel heaven
    summer winter spring autumn fall sommer herbst january february march april june july august september october november december monday friday
    sunday london paris berlin newyork california america canada australia germany deutschland france england india pakistan brasil chocolate cookie
    banana orange strawberry butterfly flower freedom whatever nothing blink182 metallica nirvana slipknot minecraft fortnite counterstrike killer
    hunter hunter2 ninja lucky happy purple silver golden diamond mypassword newpassword thepassword yourpassword mypass pass passwd qwerty azerty
    qwertz asdfgh zxcvbn qazwsx 1q2w3e4r 1qaz2wsx abc123 abcdef abcdefgh 123qwe qwe123 q1w2e3r4 asdf love babygirl sweetheart beautiful family mother
    daddy
"##;

/// What is put behind a word to make it longer.
const ENDINGS: &[&str] = &["1", "123", "1234", "12345", "123456", "12345678", "123456789", "!", "123!", "1234!"];
const YEARS: std::ops::RangeInclusive<u32> = 2022..=2026;

/// Whole phrases, with and without the gaps between their words.
const PHRASES: &str = r##"
    correct horse battery staple, let me in please, let me in now, i love you baby, i love you so much, i love you forever, i love my family,
    i love my mom, i hate passwords, i forgot my password, i dont know, i do not know, this is my password, my password is password,
    my secret password, my new password, the password is, password is password, not a password, no more passwords, please let me in, open sesame now,
    change me please, change me now, change this password, enter password here, your password here, insert password here, super secret password,
    top secret password, very secure password, strong password, secure password, long password, test password, default password, temporary password,
    temp password, admin password, root password, user password, database password, system administrator, trust no one, never give up,
    to be or not to be, may the force be with you, hello world, hello hello hello, the quick brown fox, the quick brown fox jumps over the lazy dog,
    lorem ipsum dolor, lorem ipsum dolor sit amet, once upon a time, in god we trust, jesus is lord, jesus christ, god is great, god is good,
    thank you jesus, praise the lord, good morning, good night moon, happy birthday, happy new year, merry christmas, harry potter,
    lord of the rings, game of thrones, winter is coming, star wars episode, manchester united, real madrid cf, chelsea football club,
    los angeles lakers, dallas cowboys, green bay packers, new york yankees, michael jackson, linkin park, red hot chili peppers, guns n roses,
    pink floyd rocks, the beatles rule, super mario bros, call of duty, grand theft auto, league of legends, world of warcraft, one two three four,
    one two three, eins zwei drei, uno dos tres, twelve characters, ich liebe dich, hallo welt hallo, mein passwort, je t aime, te amo mucho,
    te quiero mucho, bonjour bonjour, what is my password, who are you, go away please, leave me alone, keep it simple, just do it now,
    carpe diem carpe, hakuna matata, live laugh love, best friends forever, daddys little girl, mommys little girl, my little pony
"##;

/// All that people put together, long enough or not.
fn candidates() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for walk in WALKS.split_whitespace() {
        let backwards: String = walk.chars().rev().collect();
        for walk in [walk, &backwards] {
            all.extend((CHARACTERS_MIN..=walk.chars().count()).map(|length| walk.chars().take(length).collect()));
            all.extend([format!("{walk}{walk}"), walk.to_owned()]);
            all.extend(ENDINGS[..2].iter().map(|ending| format!("{walk}{ending}")));
        }
    }
    for word in WORDS.split_whitespace() {
        all.extend((1..=3).map(|times| word.repeat(times)));
        all.extend(ENDINGS.iter().map(|ending| format!("{word}{ending}")));
        all.extend(YEARS.map(|year| format!("{word}{year}")));
    }
    let phrases = || PHRASES.split(',').map(str::trim);
    all.extend(phrases().flat_map(|phrase| ["", " "].map(|gap| phrase.replace(' ', gap))));
    all.extend(phrases().flat_map(|phrase| ["1", "!"].map(|ending| format!("{}{ending}", phrase.replace(' ', "")))));
    for character in ('a'..='z').chain('0'..='9').chain("!@#$*.-_ ".chars()) {
        all.extend((CHARACTERS_MIN..=16).map(|length| character.to_string().repeat(length)));
    }
    for digits in ["01234567890123456789", "98765432109876543210"] {
        for from in 0..10 {
            all.extend((from + CHARACTERS_MIN..=digits.len()).map(|to| digits[from..to].to_owned()));
        }
    }
    all
}

/// The list, in one order.
fn made() -> BTreeSet<String> {
    let long = |password: &String| (CHARACTERS_MIN..=CHARACTERS_MAX).contains(&password.chars().count());
    candidates().iter().map(|password| folded(password)).filter(long).collect()
}

#[test]
fn the_list_is_what_is_made() {
    let list: String = made().into_iter().map(|password| password + "\n").collect();
    let text = format!("{HEADING}{list}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/identity/denied.txt"), &text).unwrap();
    }
    assert!(text == include_str!("../../denied.txt") || std::env::var_os("UPDATE").is_some(), "run UPDATE=1 cargo test denied, and commit the file");
    assert!(text.len() < FILE_BYTES_MAX, "{} bytes", text.len());
}

#[test]
fn the_list_has_what_the_rule_of_length_lets_pass() {
    assert!((1000..5000).contains(&super::DENIED.len()), "{}", super::DENIED.len());
    for password in super::DENIED.iter() {
        assert!(password.chars().count() >= CHARACTERS_MIN, "{password}");
        assert_eq!(folded(password), *password);
    }
}
