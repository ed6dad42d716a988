//! Files in and out.

use agentkernel_api::{DirectoryRequest, Encoding, ErrorCode, FileKind, WriteRequest};
use tokio::io::AsyncReadExt;

use super::{Bench, admin, code};
use crate::Limits;

fn text(content: &str) -> WriteRequest {
    WriteRequest { content: content.to_owned(), encoding: Encoding::Utf8, mode: None }
}

#[tokio::test]
async fn files_are_written_seen_read_and_removed() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let admin = admin();
    assert_eq!(service.write_content(&admin, "work", "/new/deep/f", text("hello")).await.unwrap(), 5);
    let entry = service.stat(&admin, "work", "/new/deep/f").await.unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.kind, entry.size, entry.mode.as_str()),
        ("f", FileKind::File, 5, "0644")
    );
    let content = service.read_content(&admin, "work", "/new/deep/f").await.unwrap();
    assert_eq!((content.content.as_str(), content.encoding, content.size), ("hello", Encoding::Utf8, 5));
    let binary =
        WriteRequest { content: "/wA=".to_owned(), encoding: Encoding::Base64, mode: Some("600".to_owned()) };
    service.write_content(&admin, "work", "/new/b", binary).await.unwrap();
    let content = service.read_content(&admin, "work", "/new/b").await.unwrap();
    assert_eq!((content.content.as_str(), content.encoding), ("/wA=", Encoding::Base64));
    let made = DirectoryRequest { path: "/new/folder".to_owned(), mode: Some("0700".to_owned()) };
    service.make_dir(&admin, "work", made).await.unwrap();
    let names: Vec<String> =
        service.list_dir(&admin, "work", "/new").await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["b", "deep", "folder"]);
    let tar = service.tar_out(&admin, "work", "/new").await.unwrap();
    service.tar_in(&admin, "work", "/copy", tar).await.unwrap();
    let mut copied = String::new();
    let mut stream = service.read_file(&admin, "work", "/copy/new/deep/f").await.unwrap();
    stream.read_to_string(&mut copied).await.unwrap();
    assert_eq!(copied, "hello");
    assert_eq!(code(service.remove_file(&admin, "work", "/new", false).await), ErrorCode::Invalid);
    service.remove_file(&admin, "work", "/new", true).await.unwrap();
    assert_eq!(code(service.stat(&admin, "work", "/new").await), ErrorCode::NotFound);
}

#[tokio::test]
async fn paths_that_are_none_are_refused_by_name() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let (service, admin) = (&bench.service, admin());
    for path in ["", "relative", "/a/../../etc/passwd", "/..", "/a\0b"] {
        let refused = service.read_content(&admin, "work", path).await.unwrap_err();
        assert!(
            refused.code == ErrorCode::Invalid && refused.message.starts_with("path: "),
            "{path}: {refused}"
        );
        assert_eq!(code(service.write_content(&admin, "work", path, text("")).await), ErrorCode::Invalid);
        assert_eq!(code(service.list_dir(&admin, "work", path).await), ErrorCode::Invalid);
        assert_eq!(code(service.remove_file(&admin, "work", path, true).await), ErrorCode::Invalid);
        assert_eq!(code(service.tar_out(&admin, "work", path).await), ErrorCode::Invalid);
    }
    let odd = WriteRequest { mode: Some("999".to_owned()), ..text("") };
    assert_eq!(code(service.write_content(&admin, "work", "/f", odd).await), ErrorCode::Invalid);
    assert_eq!(code(service.connect_port(&admin, "work", 0).await), ErrorCode::Conflict);
}

#[tokio::test]
async fn what_is_too_large_for_json_is_refused() {
    let bench = Bench::with(Limits { max_file_bytes_in_json: 4, ..Limits::default() });
    bench.sandbox("work").await;
    let (service, admin) = (&bench.service, admin());
    service.write_content(&admin, "work", "/f", text("1234")).await.unwrap();
    assert_eq!(service.read_content(&admin, "work", "/f").await.unwrap().size, 4);
    assert_eq!(code(service.write_content(&admin, "work", "/f", text("12345")).await), ErrorCode::TooLarge);
    let stream = Box::new(std::io::Cursor::new(b"12345".to_vec()));
    assert_eq!(service.write_file(&admin, "work", "/f", None, stream).await.unwrap(), 5);
    assert_eq!(code(service.read_content(&admin, "work", "/f").await), ErrorCode::TooLarge);
}
