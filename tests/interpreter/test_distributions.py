"""Which distribution an import means, and which one a misspelt name means."""

import keyword
import sys
from importlib import resources

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from interpreter.distributions import distribution_for, fold_import, likely_meant, look_alike
from kernel_startup.types import TYPES

#: As analysts know them: the generated table is held to these.
_GIVEN_BY = {
    "adbc_driver_manager": "adbc-driver-manager",
    "airflow": "apache-airflow",
    "altair": "altair",
    "arch": "arch",
    "attr": "attrs",
    "attrs": "attrs",
    "Bio": "biopython",
    "bs4": "beautifulsoup4",
    "category_encoders": "category-encoders",
    "cartopy": "cartopy",
    "catboost": "catboost",
    "clickhouse_connect": "clickhouse-connect",
    "community": "python-louvain",
    "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex",
    "cv2": "opencv-python-headless",
    "dash": "dash",
    "dask": "dask",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "duckdb": "duckdb",
    "ee": "earthengine-api",
    "faiss": "faiss-cpu",
    "feedparser": "feedparser",
    "fitz": "pymupdf",
    "fpdf": "fpdf2",
    "geopandas": "geopandas",
    "ffmpeg": "ffmpeg-python",
    "git": "gitpython",
    "github": "pygithub",
    "googleapiclient": "google-api-python-client",
    "igraph": "igraph",
    "imblearn": "imbalanced-learn",
    "implicit": "implicit",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "Levenshtein": "levenshtein",
    "lightgbm": "lightgbm",
    "lifelines": "lifelines",
    "magic": "python-magic",
    "markdown": "markdown",
    "mlxtend": "mlxtend",
    "mpl_toolkits.basemap": "basemap",
    "mysql.connector": "mysql-connector-python",
    "MySQLdb": "mysqlclient",
    "nacl": "pynacl",
    "netCDF4": "netcdf4",
    "networkx": "networkx",
    "odf": "odfpy",
    "openpyxl": "openpyxl",
    "OpenSSL": "pyopenssl",
    "osgeo.gdal": "gdal",
    "past": "future",
    "patsy": "patsy",
    "PIL": "pillow",
    "PIL.Image": "pillow",
    "pkg_resources": "setuptools",
    "plotly.express": "plotly",
    "pmdarima": "pmdarima",
    "polars": "polars",
    "pptx": "python-pptx",
    "pandas_ta": "pandas-ta",
    "prophet": "prophet",
    "psycopg": "psycopg",
    "psycopg2": "psycopg2-binary",
    "pymc": "pymc",
    "pypandoc": "pypandoc-binary",
    "pypfopt": "pyportfolioopt",
    "pyproj": "pyproj",
    "pythoncom": "pywin32",
    "pywt": "pywavelets",
    "rest_framework": "djangorestframework",
    "ruamel.yaml": "ruamel-yaml",
    "sacrebleu": "sacrebleu",
    "seaborn": "seaborn",
    "sentence_transformers": "sentence-transformers",
    "serial": "pyserial",
    "shapefile": "pyshp",
    "shapely.geometry": "shapely",
    "skbio": "scikit-bio",
    "skimage": "scikit-image",
    "skimage.io": "scikit-image",
    "sklearn": "scikit-learn",
    "sklearn.linear_model": "scikit-learn",
    "sklearn_extra": "scikit-learn-extra",
    "skopt": "scikit-optimize",
    "sksurv": "scikit-survival",
    "slugify": "python-slugify",
    "snappy": "python-snappy",
    "socks": "pysocks",
    "speech_recognition": "speechrecognition",
    "sqlalchemy.orm": "sqlalchemy",
    "statsmodels.api": "statsmodels",
    "telegram": "python-telegram-bot",
    "tensorflow": "tensorflow",
    "tensorflow.keras": "tensorflow",
    "tlz": "toolz",
    "torch.nn": "torch",
    "tqdm": "tqdm",
    "umap": "umap-learn",
    "usaddress": "usaddress",
    "websocket": "websocket-client",
    "whisper": "openai-whisper",
    "wordcloud": "wordcloud",
    "xlsxwriter": "xlsxwriter",
    "yaml": "pyyaml",
    "yfinance": "yfinance",
    "zmq": "pyzmq",
}

#: A top-level name that distributions share: what is below it decides.
_BELOW_SHARED_NAMES = {
    "airflow.models": "apache-airflow",
    "airflow.providers.google.cloud": "apache-airflow-providers-google",
    "azure.ai.ml": "azure-ai-ml",
    "azure.identity": "azure-identity",
    "azure.identity.aio": "azure-identity",
    "azure.keyvault.secrets": "azure-keyvault-secrets",
    "azure.storage.blob": "azure-storage-blob",
    "azure.storage.filedatalake": "azure-storage-file-datalake",
    "databricks.sdk": "databricks-sdk",
    "databricks.sql": "databricks-sql-connector",
    "google.api_core.exceptions": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud": "google-cloud-core",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.bigquery_storage": "google-cloud-bigquery-storage",
    "google.cloud.pubsub_v1": "google-cloud-pubsub",
    "google.cloud.secretmanager": "google-cloud-secret-manager",
    "google.cloud.storage": "google-cloud-storage",
    "google.cloud.storage.blob": "google-cloud-storage",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.oauth2.service_account": "google-auth",
    "google.protobuf": "protobuf",
    "google.protobuf.json_format": "protobuf",
    "jaraco.text": "jaraco-text",
    "llama_index.core": "llama-index-core",
    "mpl_toolkits.mplot3d": "matplotlib",
    "opentelemetry.sdk.trace": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-api",
    "snowflake.connector": "snowflake-connector-python",
    "snowflake.snowpark": "snowflake-snowpark-python",
    "zope.interface": "zope-interface",
}

#: Left in wheels by accident, or anyone's own.
_NOBODYS = [
    "tests",
    "test",
    "docs",
    "examples",
    "src",
    "setup",
    "utils",
    "scripts",
    "core",
    "app",
    "build_tools",
    "conftest",
]


def _table(file: str) -> list[str]:
    text = resources.files("interpreter.names").joinpath(file).read_text("utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


# --- imports ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "distribution"), _GIVEN_BY.items())
def test_an_import_is_given_by(name: str, distribution: str) -> None:
    assert distribution_for(name) == distribution


@pytest.mark.parametrize(("name", "distribution"), _BELOW_SHARED_NAMES.items())
def test_the_longest_known_part_of_a_shared_name_decides(name: str, distribution: str) -> None:
    assert distribution_for(name) == distribution


@pytest.mark.parametrize("name", ["google.colab", "azure.no_such_service", "zope.nothing"])
def test_nothing_is_guessed_below_a_name_that_many_share(name: str) -> None:
    assert distribution_for(name) is None


@pytest.mark.parametrize("name", _NOBODYS)
def test_names_that_are_nobodys_are_not_looked_up(name: str) -> None:
    assert distribution_for(name) in (None, name)  # some are those of popular distributions
    assert not any(row.startswith(f"{name}\t") for row in _table("import-names.tsv"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "yaml.",
        ".yaml",
        "a..b",
        "no_such_library_of_mine",
        "ya ml",
        "yaml\0",
        "../yaml",
        "-r",
        "yaml;x",
        "yaml\n",
        "\N{FULLWIDTH LATIN SMALL LETTER Y}aml",
        "y\N{CYRILLIC SMALL LETTER A}ml",
        "é",
        "a" * 1_000_000,
        "a." * 500_000,
    ],
)
def test_no_distribution_gives_what_is_no_known_import_name(name: str) -> None:
    assert distribution_for(name) is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("PIL", "PIL"),
        ("PIL.Image", "PIL.image"),
        ("mpl_toolkits.basemap", "mpl_toolkits.basemap"),
        ("google.cloud.secretmanager_v1", "google.cloudsecretmanager"),
        ("google.cloud.pubsub_v1beta2", "google.cloudpubsub"),
    ],
)
def test_what_is_below_a_top_level_name_is_folded(name: str, key: str) -> None:
    assert fold_import(name) == key


# --- the generated files ----------------------------------------------------------------------


def test_popular_distributions_are_canonical_and_there_once() -> None:
    names = _table("popular.txt")
    assert len(names) == len({*names}) == 15_000
    assert names == [canonicalize_name(name) for name in names]


def test_the_table_names_popular_distributions_only_and_is_sorted() -> None:
    rows = [row.split("\t") for row in _table("import-names.tsv")]
    keys = [key for key, _ in rows]
    assert keys == sorted({*keys})
    assert len(keys) > 3000
    popular = {*_table("popular.txt")}
    assert {distribution for key, distribution in rows if not key.endswith(".*")} <= popular
    assert {distribution for key, distribution in rows if key.endswith(".*")} == {""}


def test_the_table_has_no_name_of_the_standard_library() -> None:
    keys = {row.partition("\t")[0] for row in _table("import-names.tsv")}
    assert not keys & sys.stdlib_module_names
    assert not any(keyword.iskeyword(key) for key in keys)
    assert all(key == fold_import(key) for key in keys if not key.endswith(".*"))


def test_the_files_are_small_and_name_their_sources() -> None:
    files = [resources.files("interpreter.names") / f for f in ("popular.txt", "import-names.tsv")]
    assert sum(len(file.read_bytes()) for file in files) < 400_000
    for file in files:
        header = [line for line in file.read_text("utf-8").splitlines() if line.startswith("#")]
        assert any("Source" in line for line in header)


# --- slips ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("beautifulsop4", "beautifulsoup4"),
        ("beutifulsoup4", "beautifulsoup4"),
        ("djano", "django"),
        ("google-cloud-storge", "google-cloud-storage"),
        ("matplotib", "matplotlib"),
        ("matplotlb", "matplotlib"),
        ("mathplotlib", "matplotlib"),
        ("numpi", "numpy"),
        ("numppy", "numpy"),
        ("nunpy", "numpy"),
        ("numyp", "numpy"),
        ("opencv_pyhton", "opencv-python"),
        ("pandsa", "pandas"),
        ("pandass", "pandas"),
        ("pand4s", "pandas"),
        ("Panads", "pandas"),
        ("pillow-", "pillow"),
        ("pIl10w", "pillow"),
        ("ppandas", "pandas"),
        ("python-pandas", "pandas"),
        ("reqeusts", "requests"),
        ("request5", "requests"),
        ("requets", "requests"),
        ("equests", "requests"),
        ("scikit_lern", "scikit-learn"),
        ("scikitlearn", "scikit-learn"),
        ("sckit-learn", "scikit-learn"),
        ("seabron", "seaborn"),
        ("tensorfow", "tensorflow"),
        ("tensorfolw", "tensorflow"),
        ("beutifulsop4", "beautifulsoup4"),
        ("urlib3", "urllib3"),
        ("pandas-python", "pandas"),
        ("pyarow", "pyarrow"),
        ("sqlalchmey", "sqlalchemy"),
        ("p\N{CYRILLIC SMALL LETTER A}ndas", "pandas"),
    ],
)
def test_a_slip_is_traced_to_what_was_meant(slip: str, meant: str) -> None:
    assert likely_meant(slip) == meant


@pytest.mark.parametrize(
    "name",
    [
        "pandas",
        "Pandas",
        "scikit_learn",
        "beautifulsoup4",
        "beautifulsoup",
        "geopandas",
        "polars",
        "uvicorn",
        "gunicorn",
        "grequests",
        "pandera",
        "dask",
        "tqdm",
        "attrs",
        "attr",
        "jsonpatch",
    ],
)
def test_popular_names_are_never_slips(name: str) -> None:
    assert likely_meant(name) is None


@pytest.mark.parametrize(
    "name",
    # Libraries that aren't among the popular, near or next to some that are.
    [
        "pandas-datareader-x",
        "numpyro-ext",
        "xpandas",
        "requests-raven",
        "urllib4",
        "seaborn-image",
        "azure-mgmt-iothubx-y",
        "nptorch",
        "flask-x",
        "django-y",
        "pymoo-x",
        "dplython",
        "skidl-x",
    ],
)
def test_names_that_are_merely_near_are_no_slips(name: str) -> None:
    assert likely_meant(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "\0",
        "x",
        "zz",
        "pandas\0",
        "пандас",
        "a" * 1_000_000,
        "-" * 1_000_000,
        "pandas" * 1000,
        "\ud800",
        "e\u0301" * 90,
    ],
)
def test_hostile_names_are_no_slips(name: str) -> None:
    assert likely_meant(name) in (None, "pandas")


def test_few_names_of_ordinary_libraries_look_like_slips() -> None:
    """The less popular names against the most popular: at most one in a hundred."""
    names = _table("popular.txt")[3000:]
    assert len([name for name in names if look_alike(name)]) / len(names) < 0.01


def test_what_looks_like_a_slip_is_near_to_what_is_named_and_is_another() -> None:
    names = _table("popular.txt")
    found = {name: meant for name in names[3000:6000] if (meant := look_alike(name))}
    assert found["dataset"] == "datasets"
    assert {*found.values()} <= {*names[:3000]}
    assert all(name != meant for name, meant in found.items())


@pytest.mark.parametrize(
    "name", ["pandas", "numpy", "requests", "scikit-learn", "six", "python-dateutil"]
)
def test_no_name_looks_like_itself(name: str) -> None:
    assert look_alike(name) != name


def test_what_load_file_asks_for_is_no_slip() -> None:
    required = {Requirement(r).name for t in TYPES.values() for r in t.requires}
    assert {name: likely_meant(name) for name in required if likely_meant(name)} == {}
