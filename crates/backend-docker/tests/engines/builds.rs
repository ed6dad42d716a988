//! Dockerfiles by the engine.

use std::sync::Mutex;

use agentkernel_backend::{BackendError, BuildRequest};
use agentkernel_model::{ImageRef, PullEvent, PullPolicy, PullProgress};
use bollard::query_parameters::RemoveImageOptionsBuilder;
use tokio::io::AsyncReadExt;

use crate::bed::{Bed, shell, spec};

#[derive(Default)]
struct Told(Mutex<Vec<PullEvent>>);

impl PullProgress for Told {
    fn report(&self, event: PullEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn a_dockerfile_becomes_an_image_that_runs() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let context = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let write = |name: &str, text: &str| std::fs::write(context.path().join(name), text).unwrap();
        write(
            "Dockerfile",
            "FROM agentkernel-test/debian:1\nARG WORD\nCOPY . /copied\nENV SAID=$WORD\nCMD [\"true\"]\n",
        );
        write("file", "content");
        write("secret", "hidden");
        write(".dockerignore", "secret\n");
        let tag = format!("agentkernel-test-build:{}", std::process::id());
        let request = BuildRequest {
            context: context.path().to_owned(),
            dockerfile: "Dockerfile".into(),
            target: None,
            args: vec![("WORD".to_owned(), "hello".to_owned())],
            no_cache: true,
            tag: tag.clone(),
        };
        let told = Told::default();
        let builder = backend.builder().unwrap();
        let ready = builder.build(&request, &told).await.unwrap();
        assert!(ready.config.env.iter().any(|var| var.name == "SAID".into() && var.value == "hello".into()));
        assert!(
            told.0
                .lock()
                .unwrap()
                .iter()
                .any(|event| matches!(event, PullEvent::BuildOutput { line } if line.contains("COPY")))
        );
        let mut spec = spec(&*backend).await;
        (spec.image, spec.image_id) = (tag.parse().unwrap(), Some(ready.id));
        let made = backend.launch(&spec).await.unwrap();
        let (_, text) = shell(&*made.guest(), "cat /copied/file; ls -A /copied").await;
        assert_eq!(text, "content.dockerignore\nDockerfile\nfile\n", "{}", bed.kind.name());
        made.destroy().await.unwrap();

        let image: ImageRef = tag.parse().unwrap();
        let mut archive = Vec::new();
        builder.export(&image).await.unwrap().read_to_end(&mut archive).await.unwrap();
        let names: Vec<String> = tar::Archive::new(&archive[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(names.contains(&"manifest.json".to_owned()), "{names:?}");

        write("Dockerfile", "FROM agentkernel-test/debian:1\nRUN exit 3\n");
        let error = builder.build(&request, &()).await.unwrap_err().to_string();
        assert!(error.contains("exit 3") || error.contains('3'), "{error}");
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        bed.engine().remove_image(&tag, Some(options), None).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_says_what_would_work() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let images = bed.open(state.path());
        let images = images.images().unwrap();
        let image: ImageRef = "127.0.0.1:1/nope/nothing:1".parse().unwrap();
        assert_eq!(images.find(&image).await.unwrap(), None, "{}", bed.kind.name());
        for policy in [PullPolicy::Never, PullPolicy::Missing] {
            let error = images.prepare(&image, policy, &()).await.unwrap_err();
            let right = match policy {
                PullPolicy::Never => matches!(error, BackendError::NoImage { .. }),
                _ => matches!(error, BackendError::Unavailable { .. }),
            };
            assert!(right, "{error}");
            assert!(error.to_string().contains("127.0.0.1:1/nope/nothing:1"), "{error}");
        }
    }
}
