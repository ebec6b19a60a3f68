//! A page of the documentation, taken apart.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// One Markdown file.
pub(crate) struct Page {
    /// Where it is, from the root of the repository.
    pub path: String,
    pub headings: Vec<Heading>,
    pub blocks: Vec<Block>,
    pub spans: Vec<Span>,
    pub links: Vec<String>,
}

pub(crate) struct Heading {
    pub level: HeadingLevel,
    pub text: String,
}

/// A fenced block of code.
pub(crate) struct Block {
    pub language: String,
    pub text: String,
    /// How many headings stand before it.
    pub headings_before: usize,
}

/// Code within a sentence or a table.
pub(crate) struct Span {
    pub text: String,
    /// How many headings stand before it.
    pub headings_before: usize,
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut page = Self { path: path.to_owned(), headings: vec![], blocks: vec![], spans: vec![], links: vec![] };
        let mut in_heading = false;
        let mut in_block = false;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    in_heading = true;
                    page.headings.push(Heading { level, text: String::new() });
                }
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Start(Tag::CodeBlock(kind)) => {
                    in_block = true;
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    let headings_before = page.headings.len();
                    page.blocks.push(Block { language, text: String::new(), headings_before });
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Code(text) => {
                    if in_heading {
                        page.headings.last_mut().unwrap().text.push_str(&text);
                    }
                    page.spans.push(Span { text: text.into_string(), headings_before: page.headings.len() });
                }
                Event::Text(text) if in_block => page.blocks.last_mut().unwrap().text.push_str(&text),
                Event::Text(text) if in_heading => page.headings.last_mut().unwrap().text.push_str(&text),
                _ => {}
            }
        }
        page
    }

    /// The blocks in this language, each with a name to find it by.
    pub(crate) fn blocks_in<'a>(&'a self, languages: &'a [&str]) -> impl Iterator<Item = (String, &'a str)> {
        let named = |(at, block): (usize, &'a Block)| (format!("{}, block {}", self.path, at + 1), block.text.as_str());
        self.blocks.iter().enumerate().filter(|(_, block)| languages.contains(&block.language.as_str())).map(named)
    }

    /// The blocks below a heading, up to the next one.
    pub(crate) fn blocks_below(&self, heading: &str) -> Vec<&Block> {
        let at = self.heading(heading);
        self.blocks.iter().filter(|block| block.headings_before == at).collect()
    }

    /// The code within the text below a heading, up to the next one.
    pub(crate) fn spans_below(&self, heading: &str) -> Vec<&str> {
        let at = self.heading(heading);
        self.spans.iter().filter(|span| span.headings_before == at).map(|span| span.text.as_str()).collect()
    }

    fn heading(&self, text: &str) -> usize {
        let found = self.headings.iter().position(|heading| heading.text == text);
        found.unwrap_or_else(|| panic!("{} has no heading {text:?}", self.path)) + 1
    }
}

/// Every page of the documentation.
pub(crate) fn pages() -> Vec<Page> {
    let folder = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = folder.map(|name| format!("docs/{}", name.to_str().unwrap())).filter(|name| name.ends_with(".md"));
    let mut names: Vec<String> = docs.collect();
    names.extend(["README.md", "README.zh-CN.md", "CHANGELOG.md"].map(str::to_owned));
    let of_the_client = ["miniprogram/README.md", "miniprogram/README.zh-CN.md", "examples/miniprogram/README.md"];
    names.extend(of_the_client.map(str::to_owned));
    names.sort();
    assert!(names.len() > 4, "{names:?}");
    names.iter().map(|name| Page::read(name)).collect()
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
