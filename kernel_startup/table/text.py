"""Types of plain text and source code."""

from kernel_startup.filetype import FileType

TYPES = (
    FileType(
        name="text",
        family="text",
        title="Plain text",
        extensions=(
            *("txt", "text", "log", "md", "markdown", "rst", "adoc", "org", "tex", "bib", "diff"),
            *("patch", "ini", "cfg", "conf", "env", "toml", "yaml", "yml", "properties", "xml"),
            *("html", "htm", "css", "js", "mjs", "ts", "tsx", "jsx", "vue", "svelte", "py", "pyi"),
            *("r", "rmd", "jl", "c", "h", "cc", "cpp", "cxx", "hpp", "cs", "java", "kt", "scala"),
            *("go", "rs", "swift", "rb", "php", "pl", "lua", "sh", "bash", "zsh", "fish", "ps1"),
            *("bat", "sql", "graphql", "proto", "hs", "ml", "ex", "exs", "erl", "clj", "dart"),
            *("srt", "vtt", "ics", "eml", "gitignore", "dockerfile", "makefile"),
        ),
        mime_type="text/plain",
        object="str",
        loader="text:load_text",
        is_text=True,
    ),
)
