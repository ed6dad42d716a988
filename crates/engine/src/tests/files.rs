//! `[[files]]`.

use agentkernel_config::FileEntry;
use agentkernel_testkit::fake::{Fault, Step};

use super::{Bench, drain, name, output, plan, sh, spec};
use crate::RunPlan;

fn entry(bench: &Bench, content: &str) -> FileEntry {
    let source = bench.dir.path().join("source");
    std::fs::write(&source, content).unwrap();
    FileEntry { source, dest: "/etc/made/for/it".parse().unwrap(), mode: 0o640 }
}

#[tokio::test]
async fn a_run_starts_with_its_files() {
    let bench = Bench::new();
    let files = vec![entry(&bench, "content")];
    let mut run = bench.engine.run(RunPlan { files, ..plan(sh("cat /etc/made/for/it")) }).await.unwrap();
    assert_eq!(drain(&mut run.execution).await.0, "content");
    run.finish().await.unwrap();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_created_sandbox_gets_them_at_its_first_start_only() {
    let bench = Bench::new();
    let entry = entry(&bench, "as it was");
    bench.engine.create(&name("a"), spec(), std::slice::from_ref(&entry)).await.unwrap();
    std::fs::write(&entry.source, "changed").unwrap();
    bench.engine.start(&name("a")).await.unwrap();
    assert_eq!(
        output(&bench.engine, "a", "cat /etc/made/for/it; echo mine > /etc/made/for/it").await,
        "as it was"
    );
    assert!(!bench.engine.store().state_dir().join("sandboxes/a/files").exists());
    bench.engine.stop(&name("a"), std::time::Duration::ZERO).await.unwrap();
    bench.engine.start(&name("a")).await.unwrap();
    assert_eq!(output(&bench.engine, "a", "cat /etc/made/for/it").await, "mine\n");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn one_that_cant_be_read_is_an_error_before_anything() {
    let bench = Bench::new();
    let mut missing = entry(&bench, "");
    missing.source = bench.dir.path().join("nope");
    let mut folder = missing.clone();
    folder.source = bench.dir.path().to_owned();
    for bad in [missing, folder] {
        let error = bench
            .engine
            .create(&name("a"), spec(), std::slice::from_ref(&bad))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(bad.source.to_str().unwrap()) && error.contains("[[files]]"), "{error}");
        assert!(bench.engine.run(RunPlan { files: vec![bad], ..plan(sh("true")) }).await.is_err());
    }
    assert!(bench.fake.calls().is_empty());
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_failed_upload_takes_the_start_back_and_keeps_the_files_for_the_next() {
    for fault in [Fault::Before, Fault::After] {
        let bench = Bench::new();
        let entry = entry(&bench, "content");
        bench.fake.inject(Step::WriteFiles, fault);
        let run = RunPlan { files: vec![entry.clone()], ..plan(sh("true")) };
        assert!(bench.engine.run(run).await.is_err());
        bench.assert_nothing_left();
        bench.engine.create(&name("a"), spec(), &[entry]).await.unwrap();
        bench.fake.inject(Step::WriteFiles, fault);
        assert!(bench.engine.start(&name("a")).await.is_err());
        bench.engine.start(&name("a")).await.unwrap();
        assert_eq!(output(&bench.engine, "a", "cat /etc/made/for/it").await, "content");
        bench.fake.assert_clean();
    }
}
