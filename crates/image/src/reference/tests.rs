//! Docker's rules, by example and by grammar.

use proptest::prelude::*;

use super::*;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn names_mean_what_docker_means() {
    for (text, whole, familiar) in [
        ("python", "docker.io/library/python:latest", "python:latest"),
        ("python:3.12-alpine", "docker.io/library/python:3.12-alpine", "python:3.12-alpine"),
        ("docker.io/python", "docker.io/library/python:latest", "python:latest"),
        ("index.docker.io/library/python", "docker.io/library/python:latest", "python:latest"),
        ("docker.io/library/python", "docker.io/library/python:latest", "python:latest"),
        ("user/app:1", "docker.io/user/app:1", "user/app:1"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("ghcr.io/o/app", "ghcr.io/o/app:latest", "ghcr.io/o/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:v_1.0-x", "localhost:5000/app:v_1.0-x", "localhost:5000/app:v_1.0-x"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "127.0.0.1:5000/a/b/c:latest"),
        ("Registry/app", "Registry/app:latest", "Registry/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ("x/a__b.c-d---e", "docker.io/x/a__b.c-d---e:latest", "x/a__b.c-d---e:latest"),
        // A lone name with a colon is a name with a tag.
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (whole, familiar));
    }
}

#[test]
fn a_digest_decides_and_needs_no_tag() {
    let reference: Reference = format!("python@sha256:{HEX}").parse().unwrap();
    assert_eq!((reference.tag(), reference.wanted()), (None, format!("sha256:{HEX}")));
    let both: Reference = format!("python:3.12@sha256:{HEX}").parse().unwrap();
    assert_eq!((both.tag(), both.wanted()), (Some("3.12"), format!("sha256:{HEX}")));
    assert_eq!(both.to_string(), format!("docker.io/library/python:3.12@sha256:{HEX}"));
    assert_eq!(both.with_digest(both.digest().unwrap()), reference);
}

#[test]
fn what_docker_refuses_is_refused() {
    let long = "a".repeat(256);
    let long_tag = format!("a:{}", "t".repeat(129));
    let broken_digest = format!("a@sha256:{}", &HEX[1..]);
    let other = format!("a@sha512:{HEX}{HEX}");
    for text in [
        "",
        ":",
        "/",
        "@",
        "a:",
        "a/",
        "/a",
        "a//b",
        "Python",
        "user/App",
        "a..b",
        "a._b",
        "a___b",
        "-a",
        "a-",
        ".a",
        "a b",
        "a:-t",
        "a:t/",
        "a:b:c",
        "reg.io:port/a",
        "reg.io:99999/a",
        "reg..io/a",
        "-reg.io/a",
        "reg.io",
        "a@b",
        "a@sha256:",
        "http://reg.io/a",
        "a\n",
        "ä",
        "[::1/a",
        "[::x]:5/a",
        "[::1]5/a",
        "reg.io/",
        HEX,
        &long,
        &long_tag,
        &broken_digest,
        &other,
        "a/../b",
        "../a",
    ] {
        // `reg.io` alone is an official image by that name, as with Docker.
        assert_eq!(text.parse::<Reference>().is_err(), text != "reg.io", "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_and_what_parses_comes_back(text in "[a-zA-Z0-9._/:@\\[\\]-]{0,60}|\\PC{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference.clone());
            prop_assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn every_name_by_the_grammar_is_taken(
        registry in "(([a-z0-9]{1,5}\\.){1,2}[a-z0-9]{1,5}(:[1-9][0-9]{0,3})?/)?",
        path in "x/[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,8}){0,3}",
        tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
    ) {
        let text = format!("{registry}{path}{tag}");
        prop_assert!(text.parse::<Reference>().is_ok(), "{}", text);
    }
}
