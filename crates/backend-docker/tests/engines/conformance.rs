//! Both engines keep the promises of every backend; for an ordinary user Podman is a rootless one.

mod docker {
    use agentkernel_backend_docker::EngineKind;
    use agentkernel_testkit::conformance::{Skipped, Subject};

    async fn subject() -> Result<Subject, Skipped> {
        crate::bed::subject(EngineKind::Docker, "AGENTKERNEL_TEST_DOCKER").await
    }

    agentkernel_testkit::conformance_suite!(subject);
}

mod podman {
    use agentkernel_backend_docker::EngineKind;
    use agentkernel_testkit::conformance::{Skipped, Subject};

    async fn subject() -> Result<Subject, Skipped> {
        crate::bed::subject(EngineKind::Podman, "AGENTKERNEL_TEST_PODMAN").await
    }

    agentkernel_testkit::conformance_suite!(subject);
}
