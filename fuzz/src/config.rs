//! The text of `agentkernel.toml`, which may come from a stranger's repository.

use std::path::Path;

/// Files that hold each section, right and wrong.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "[sandbox]\nname = \"x\"\nimage = \"python:3.12\"\nruntime = \"python\"\n",
        "[agent]\npreferred = \"claude\"\n[resources]\nvcpus = 2\nmemory_mb = 512\n",
        "[network]\nports = [\"8080:80\", 443]\n[security]\nprofile = \"restrictive\"\nnetwork = false\nmount_cwd = \"ro\"\n",
        "[[files]]\nsource = \"a\"\ndest = \"/b\"\nmode = \"0644\"\n[[files]]\nsource = \"../c\"\ndest = \"d\"\n",
        "[security]\nprofle = \"moderate\"\npass_env = [\"A\", \"B=C\"]\nmount_home = 1\n",
        "[sandbox]\nname = \"\\u0000\"\n[sandbox.env]\nA = \"\u{1b}[31m\"\n",
        "a = [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n",
        "a.b.c.d.e.f.g.h = {x = {y = {z = 1e400}}}\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A file is read or refused with an error that names a place in it.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(error) = agentkernel_config::parse(&text, Path::new("agentkernel.toml")) {
        let message = error.to_string();
        assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
    }
}
