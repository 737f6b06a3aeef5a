"""Croissant metadata of a dataset: what dataset search engines and loaders read (mlcommons.org/croissant/1.0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.column import Column
from schemas.dataset import FORMAT_VERSION, Dataset
from schemas.table import TableSpec
from schemas.tables import TABLES

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The standard's own context, word for word: readers warn of any other."""
_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int64": "sc:Integer",
    "float64": "sc:Float",
    "float32": "sc:Float",
}


def croissant_metadata(dataset: Dataset, licences: Sequence[str]) -> dict[str, Any]:
    """JSON-LD of the tables that have rows; the same dataset gives the same text.

    No `url` and no `datePublished`: a folder on a disk has neither, and whoever publishes it knows both.
    """
    tables = [table for name, table in TABLES.items() if dataset.row_count(name)]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "humandepth-dataset",
        "description": "Per frame a body in SMPL layout, per pair of frames a motion field, base depth and validity.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": ", ".join(licences) or "not stated",
        "version": f"{FORMAT_VERSION}.0.0+{dataset.content_hash()[:12]}",
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
    source = {"fileSet": {"@id": f"{table}-files"}, "extract": {"column": column.name}}
    facts = _described(f"{table}/{column.name}", column) | {"source": source}
    if column.codec != "list":
        return facts | _value_type(column)
    # A reader gets a list's column as a whole and takes each field out of every item: a value an item.
    inner = [
        _described(f"{table}/{column.name}/{field.name}", field)
        | {"source": source | {"transform": {"jsonPath": field.name}}}
        | _value_type(field)
        | {"repeated": True}
        for field in column.fields
    ]
    return facts | {"repeated": True, "subField": inner}


def _described(name: str, column: Column) -> dict[str, Any]:
    words = f"{column.doc} [{column.unit}]" if column.unit else column.doc
    return {"@type": "cr:Field", "@id": name, "name": name, "description": words}


def _value_type(column: Column) -> dict[str, Any]:
    """Maps are named as text: bytes that `Column.decode` turns into numbers, for which Croissant has no type."""
    if column.codec == "image":
        return {"dataType": "sc:ImageObject"}
    if column.codec == "map":
        return {"dataType": "sc:Text"}
    repeated = {"repeated": True} if column.codec == "plain" and column.shape else {}
    return {"dataType": _TYPES[column.dtype]} | repeated
