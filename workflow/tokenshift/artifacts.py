"""Writing and reading the study's tables: Parquet with one schema per kind, and with what made them inside; CSV."""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokenshift.atomic import SCHEMA_VERSION, atomic_file
from tokenshift.errors import StudyError

ROW_GROUP = 131_072  # rows; fixed, so that a file gathered from parts equals one written whole


@functools.cache
def versions(*packages: str) -> dict[str, str]:
    """Installed versions of `packages`, for a file's metadata."""
    return {package: metadata.version(package) for package in packages}


def write_parquet(path: str | Path, table: pa.Table, schema: pa.Schema, spec: dict, packages: tuple[str, ...]) -> None:
    """Write `table` as zstd Parquet under `schema`, with spec, schema version and package versions in its metadata.

    Raises StudyError when the columns differ from the schema's.
    """
    write_parquet_parts(path, [table], schema, spec, packages)


def write_parquet_parts(
    path: str | Path, tables: Iterable[pa.Table], schema: pa.Schema, spec: dict, packages: tuple[str, ...]
) -> None:
    """As `write_parquet`, the rows of `tables` one after another as they come; memory holds no more than a few."""
    described = schema.with_metadata(
        {
            "tokenshift.schema_version": SCHEMA_VERSION,
            "tokenshift.spec": json.dumps(spec, sort_keys=True),
            "tokenshift.versions": json.dumps(versions(*packages), sort_keys=True),
        }
    )

    def conforming() -> Iterator[pa.Table]:
        for table in tables:
            if differing := sorted(set(table.column_names) ^ set(schema.names)):
                raise StudyError(f"{path}: columns {differing} do not match the schema of this kind of file")
            yield table.select(schema.names)

    with atomic_file(path) as temporary:
        _write_row_groups(temporary, conforming(), described)


def gather_parquet(path: str | Path, parts: Sequence[str | Path]) -> None:
    """Join `parts`, written by `write_parquet` with one spec, into the file that writing all rows at once would give.

    Where there is a first column `step`, all rows of a step come before those of the next. Holds no more than two row
    groups. Raises StudyError when the parts differ in columns or metadata.
    """
    schemas = [pq.read_schema(part) for part in parts]
    for part, schema in zip(parts, schemas, strict=True):
        if not schema.equals(schemas[0], check_metadata=True):
            raise StudyError(f"{part} does not belong with {parts[0]}: delete both and let Snakemake make them again")
    files = [pq.ParquetFile(part) for part in parts]
    if schemas[0].names[0] == "step":
        steps = dict.fromkeys(step for file in files for step in file.read(["step"])["step"].unique().to_pylist())
        tables = (table for step in steps for file in files for table in _rows_of_step(file, step))
    else:
        tables = (pa.Table.from_batches([batch]) for file in files for batch in file.iter_batches())
    with atomic_file(path) as temporary:
        _write_row_groups(temporary, tables, schemas[0])


def _rows_of_step(file: pq.ParquetFile, step: int) -> Iterator[pa.Table]:
    """The rows of a file whose first column is `step`."""
    for group in range(file.num_row_groups):
        held = file.metadata.row_group(group).column(0).statistics
        if held.min <= step <= held.max:
            rows = file.read_row_group(group)
            yield rows.filter(pc.equal(rows["step"], step))


def _write_row_groups(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write the rows of `tables` in row groups of ROW_GROUP, however they were cut."""
    pending: list[pa.Table] = []
    # The bytes of floats side by side, exponents with exponents, compress better than floats or a dictionary of them.
    floats = [leaf for field in schema if pa.types.is_floating(_value_type(field)) for leaf in _leaves(field)]
    others = [leaf for field in schema if not pa.types.is_floating(_value_type(field)) for leaf in _leaves(field)]
    layout = {"compression": "zstd", "use_byte_stream_split": floats, "use_dictionary": others}
    with pq.ParquetWriter(path, schema, **layout) as writer:
        for table in tables:
            pending.append(table.cast(schema))
            while sum(map(len, pending)) >= ROW_GROUP:
                joined = pa.concat_tables(pending).combine_chunks()
                writer.write_table(joined.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                pending = [joined.slice(ROW_GROUP)]
        if any(map(len, pending)):
            writer.write_table(pa.concat_tables(pending).combine_chunks(), row_group_size=ROW_GROUP)


def _value_type(field: pa.Field) -> pa.DataType:
    return field.type.value_type if pa.types.is_list(field.type) else field.type


def _leaves(field: pa.Field) -> list[str]:
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name]


def shards(path: str | Path) -> list[Path]:
    """The Parquet files that make up `path`: itself, or, where it is a folder, those in it, by name.

    Raises StudyError when the folder holds none.
    """
    path = Path(path)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise StudyError(f"{path}: a folder without Parquet files; delete it and let Snakemake make it again")
    return files


def read_spec(file: Path) -> dict:
    """The spec that `write_parquet` put into a file's metadata."""
    return json.loads(pq.read_schema(file).metadata[b"tokenshift.spec"])


def scan_parquet(path: str | Path, schema: pa.Schema) -> pl.LazyFrame:
    """The rows of a file written by `write_parquet`, or of a folder of such files, to be read when collected.

    Raises StudyError when a file lacks a column of `schema` or carries another schema version.
    """
    files = shards(path)
    for file in files:
        try:
            stored = pq.read_schema(file)
        except (OSError, pa.ArrowException) as error:
            raise StudyError(
                f"{file}: cannot be read as Parquet ({' '.join(str(error).split())[:200]}); delete it and "
                "let Snakemake make it again"
            ) from None
        version = (stored.metadata or {}).get(b"tokenshift.schema_version", b"none").decode()
        missing = [name for name in schema.names if name not in stored.names]
        if missing or version != SCHEMA_VERSION:
            raise StudyError(
                f"{file}: not a file of this kind (schema version {version}, expected {SCHEMA_VERSION}; "
                f"missing columns {missing}); delete it and let Snakemake make it again"
            )
    return pl.scan_parquet(files)


def read_parquet(path: str | Path, schema: pa.Schema) -> pl.DataFrame:
    """All of what `scan_parquet` finds, in memory."""
    return scan_parquet(path, schema).collect()


def write_csv(path: str | Path, frame: pl.DataFrame) -> None:
    """Write `frame` as CSV, floats with nine significant digits."""
    rounded = frame.with_columns(pl.selectors.float().round_sig_figs(9))
    with atomic_file(path) as temporary:
        rounded.write_csv(temporary)
