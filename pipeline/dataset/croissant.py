"""Croissant metadata of a dataset: what dataset search engines and loaders read (mlcommons.org/croissant/1.0)."""

from __future__ import annotations

from typing import Any

from schemas.column import Column
from schemas.dataset import Dataset
from schemas.table import TableSpec
from schemas.tables import TABLES

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int64": "sc:Integer",
    "float64": "sc:Float",
    "float32": "sc:Float",
}


def croissant_metadata(dataset: Dataset) -> dict[str, Any]:
    """JSON-LD of the tables that have rows; the same dataset gives the same text."""
    tables = [table for name, table in TABLES.items() if dataset.row_count(name)]
    licences = sorted({row["licence"] or "not stated" for row in dataset.rows("clips", ["licence"])})
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "humandepth-dataset",
        "description": "Per frame a body in SMPL layout, per pair of frames a motion field, base depth and validity.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": ", ".join(licences) or "not stated",
        "url": "https://example.invalid/humandepth-dataset",
        "version": dataset.content_hash()[:12],
        "distribution": [_file_set(dataset, table) for table in tables],
        "recordSet": [_record_set(table) for table in tables],
    }


def _file_set(dataset: Dataset, table: TableSpec) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{table.name}-files",
        "name": f"{table.name}-files",
        "description": f"{dataset.row_count(table.name)} rows",
        "encodingFormat": "application/x-parquet",
        "includes": f"{table.name}/*.parquet",
    }


def _record_set(table: TableSpec) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": table.doc,
        "field": [_field(table.name, column) for column in table.columns],
    }


def _field(table: str, column: Column) -> dict[str, Any]:
    name = f"{table}/{column.name}"
    facts: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": f"{column.doc} [{column.unit}]" if column.unit else column.doc,
        "source": {
            "fileSet": {"@id": f"{table.split(chr(47))[0]}-files"},
            "extract": {"column": column.name},
        },
    }
    if column.codec == "list":
        return facts | {"repeated": True, "subField": [_field(name, field) for field in column.fields]}
    if column.codec == "plain" and column.shape:
        facts["repeated"] = True
    return facts | {"dataType": _data_type(column)}


def _data_type(column: Column) -> str:
    if column.codec == "image":
        return "sc:ImageObject"
    return "sc:Text" if column.codec == "map" else _TYPES[column.dtype]
