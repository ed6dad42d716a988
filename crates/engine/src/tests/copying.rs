//! `cp`, all three ways.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use agentkernel_testkit::fake::{Fault, Step};

use super::{Bench, name, output, spec};
use crate::{CopyEnd, CopyReport, EngineError, ErrorKind};

impl Bench {
    async fn running() -> Self {
        let bench = Self::new();
        for sandbox in ["a", "b"] {
            bench.engine.create(&name(sandbox), spec(), &[]).await.unwrap();
            bench.engine.start(&name(sandbox)).await.unwrap();
        }
        std::fs::create_dir(bench.dir.path().join("host")).unwrap();
        bench
    }

    fn host(&self, path: &str) -> PathBuf {
        self.dir.path().join("host").join(path)
    }

    /// `a:...` and `b:...` are boxes, everything else is below the host's folder; endings are kept as written.
    async fn copy(&self, from: &str, to: &str) -> Result<CopyReport, EngineError> {
        let end = |text: &str| match text.starts_with("a:") || text.starts_with("b:") {
            true => CopyEnd::parse(OsStr::new(text)).unwrap(),
            false => {
                CopyEnd::parse(OsStr::new(&format!("{}/host/{text}", self.dir.path().display()))).unwrap()
            }
        };
        self.engine.copy(&end(from), &end(to)).await
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::create_dir_all(self.host(path).parent().unwrap()).unwrap();
        std::fs::write(self.host(path), content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.host(path)).unwrap()
    }
}

#[tokio::test]
async fn a_file_goes_in_by_the_rules() {
    let bench = Bench::running().await;
    bench.write("file", "one");
    for (to, lands) in [
        ("a:/workspace", "/workspace/file"),
        ("a:/workspace/new", "/workspace/new"),
        ("a:/tmp/", "/tmp/file"),
    ] {
        let report = bench.copy("file", to).await.unwrap();
        assert_eq!((report.counts.files, report.counts.bytes), (1, 3));
        assert_eq!(output(&bench.engine, "a", &format!("cat {lands}")).await, "one", "{to}");
    }
    bench.write("file", "two");
    bench.copy("file", "a:/workspace/new").await.unwrap();
    assert_eq!(output(&bench.engine, "a", "cat /workspace/new").await, "two", "overwritten");
    for to in ["a:/nope/", "a:/workspace/new/", "a:/nope/deeper/file"] {
        let error = bench.copy("file", to).await.err().unwrap();
        assert!(matches!(error, EngineError::Copy(_)), "{to}: {error}");
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_folder_goes_in_by_the_rules() {
    let bench = Bench::running().await;
    bench.write("dir/sub/file", "deep");
    symlink("/etc/shadow", bench.host("dir/link")).unwrap();
    for (from, to, lands) in [
        ("dir", "a:/workspace", "/workspace/dir"),
        ("dir", "a:/workspace/new", "/workspace/new"),
        ("dir/", "a:/tmp", "/tmp/dir"),
        ("dir/.", "a:/tmp", "/tmp"),
        ("dir/.", "a:/workspace/fresh", "/workspace/fresh"),
    ] {
        let report = bench.copy(from, to).await.unwrap();
        assert_eq!((report.counts.files, report.counts.links), (1, 1), "{from} {to}");
        assert_eq!(output(&bench.engine, "a", &format!("cat {lands}/sub/file")).await, "deep", "{from} {to}");
    }
    bench.write("plain", "x");
    bench.copy("plain", "a:/workspace/plain").await.unwrap();
    let error = bench.copy("dir", "a:/workspace/plain").await.err().unwrap();
    assert!(error.to_string().contains("a:/workspace/plain is not a folder"), "{error}");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_file_comes_out_by_the_rules() {
    let bench = Bench::running().await;
    output(&bench.engine, "a", "echo one > /workspace/file").await;
    std::fs::create_dir(bench.host("dir")).unwrap();
    for (to, lands) in [("dir", "dir/file"), ("new", "new"), ("dir/", "dir/file"), ("dir/.", "dir/file")] {
        bench.copy("a:/workspace/file", to).await.unwrap();
        assert_eq!(bench.read(lands), "one\n", "{to}");
    }
    output(&bench.engine, "a", "echo two > /workspace/file").await;
    bench.copy("a:/workspace/file", "new").await.unwrap();
    assert_eq!(bench.read("new"), "two\n", "overwritten");
    for to in ["nope/", "new/", "nope/file"] {
        assert!(bench.copy("a:/workspace/file", to).await.is_err(), "{to}");
    }
    let error = bench.copy("a:/workspace/nope", "x").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = bench.copy("a:/workspace/file/.", "x").await.err().unwrap();
    assert!(error.to_string().contains("is not a folder"), "{error}");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_folder_comes_out_by_the_rules() {
    let bench = Bench::running().await;
    output(
        &bench.engine,
        "a",
        "mkdir -p /workspace/d/sub; echo deep > /workspace/d/sub/file; ln -s /etc/passwd /workspace/d/link",
    )
    .await;
    std::fs::create_dir(bench.host("dir")).unwrap();
    for (from, to, lands) in [
        ("a:/workspace/d", "dir", "dir/d"),
        ("a:/workspace/d", "new", "new"),
        ("a:/workspace/d/.", "dir", "dir"),
        ("a:/workspace/d/.", "fresh", "fresh"),
    ] {
        bench.copy(from, to).await.unwrap();
        assert_eq!(bench.read(&format!("{lands}/sub/file")), "deep\n", "{from} {to}");
        assert!(bench.host(&format!("{lands}/link")).is_symlink());
    }
    bench.write("plain", "x");
    assert!(bench.copy("a:/workspace/d", "plain").await.is_err());
    bench.fake.assert_clean();
}

#[tokio::test]
async fn links_of_the_host_are_not_written_through() {
    let bench = Bench::running().await;
    output(&bench.engine, "a", "echo evil > /workspace/file").await;
    bench.write("precious", "precious");
    std::fs::create_dir(bench.host("dir")).unwrap();
    symlink(bench.host("precious"), bench.host("link")).unwrap();
    symlink(bench.host("precious"), bench.host("dir/file")).unwrap();
    symlink(bench.host("dir"), bench.host("dirlink")).unwrap();
    for to in ["link", "dirlink"] {
        let error = bench.copy("a:/workspace/file", to).await.err().unwrap();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    bench.copy("a:/workspace/file", "dirlink/").await.unwrap();
    assert_eq!(
        (bench.read("precious"), bench.read("dir/file")),
        ("precious".to_owned(), "evil\n".to_owned())
    );
}

#[tokio::test]
async fn a_link_goes_in_as_a_link_unless_a_slash_follows() {
    let bench = Bench::running().await;
    bench.write("dir/file", "x");
    symlink("dir", bench.host("link")).unwrap();
    bench.copy("link", "a:/workspace/one").await.unwrap();
    bench.copy("link/", "a:/workspace/two").await.unwrap();
    let (_, guest) = bench.engine.guest(&name("a")).await.unwrap();
    let kind = async |path: &str| guest.stat(&path.parse().unwrap()).await.unwrap().kind;
    assert_eq!(kind("/workspace/one").await, agentkernel_backend::FileKind::Symlink);
    assert_eq!(kind("/workspace/two").await, agentkernel_backend::FileKind::Directory);
}

#[tokio::test]
async fn a_link_in_the_box_means_the_folder_it_leads_to() {
    let bench = Bench::running().await;
    output(&bench.engine, "a", "mkdir /workspace/real; ln -s /workspace/real /workspace/link").await;
    bench.write("file", "x");
    for to in ["a:/workspace/link", "a:/workspace/link/"] {
        bench.copy("file", to).await.unwrap();
        assert_eq!(
            output(&bench.engine, "a", "cat /workspace/real/file; rm /workspace/real/file").await,
            "x",
            "{to}"
        );
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn box_to_box_renames_and_touches_no_disk() {
    let bench = Bench::running().await;
    output(&bench.engine, "a", "mkdir -p /workspace/d/sub; echo deep > /workspace/d/sub/file").await;
    for (from, to, lands) in [
        ("a:/workspace/d", "b:/workspace", "/workspace/d/sub/file"),
        ("a:/workspace/d", "b:/workspace/new", "/workspace/new/sub/file"),
        ("a:/workspace/d/.", "b:/tmp", "/tmp/sub/file"),
        ("a:/workspace/d/sub/file", "b:/tmp/renamed", "/tmp/renamed"),
    ] {
        let report = bench.copy(from, to).await.unwrap();
        assert_eq!(report.counts.files, 1);
        assert_eq!(output(&bench.engine, "b", &format!("cat {lands}")).await, "deep\n", "{from} {to}");
    }
    assert_eq!(std::fs::read_dir(bench.host("")).unwrap().count(), 0);
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_large_file_survives_the_way_in_and_out() {
    let bench = Bench::running().await;
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(bench.host("large"), &content).unwrap();
    bench.copy("large", "a:/workspace").await.unwrap();
    bench.copy("a:/workspace/large", "back").await.unwrap();
    assert!(std::fs::read(bench.host("back")).unwrap() == content);
}

#[tokio::test]
async fn failures_of_the_box_are_reported() {
    let bench = Bench::running().await;
    bench.write("file", "x");
    bench.fake.inject(Step::WriteFiles, Fault::Before);
    assert!(matches!(bench.copy("file", "a:/workspace").await, Err(EngineError::Backend(_))));
    output(&bench.engine, "a", "echo x > /workspace/file").await;
    for step in 0..2 {
        for _ in 0..step {
            bench.fake.inject(Step::ReadFiles, Fault::After);
        }
        bench.fake.inject(Step::ReadFiles, Fault::Before);
        assert!(matches!(bench.copy("a:/workspace/file", "out").await, Err(EngineError::Backend(_))));
    }
    assert!(!bench.host("out").exists());
}

#[tokio::test]
async fn ends_that_make_no_sense_are_refused() {
    let bench = Bench::running().await;
    bench.write("file", "x");
    assert_eq!(bench.copy("file", "other").await.err().unwrap().kind(), ErrorKind::Invalid);
    assert_eq!(bench.copy("nope", "a:/workspace").await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(bench.copy("file/", "a:/workspace").await.err().unwrap().kind(), ErrorKind::Invalid);
    let stopped = CopyEnd::parse(OsStr::new("nobody:/x")).unwrap();
    let file = CopyEnd::Host(bench.host("file"));
    assert_eq!(bench.engine.copy(&file, &stopped).await.err().unwrap().kind(), ErrorKind::NotFound);
}
