"""Keys: of the server's making, a folder for each tenant."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment.artifacts import clip_key, disposition, media_type, preview_key, tenant_slug, upload_key
from deployment.artifacts.keys import check_key, is_slug, is_task_id

TASK = str(uuid.UUID(int=7))


def test_a_tenants_folder_is_its_name_where_that_is_a_plain_one():
    assert clip_key(TASK, 3, "acme-1") == f"clips/t-acme-1/{TASK}/3.mp4"
    assert re.fullmatch("h-[0-9a-f]{32}", tenant_slug("../../etc"))


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_no_two_tenants_share_a_folder_on_any_disk_and_none_looks_like_a_task(one, other):
    assert is_slug(tenant_slug(one))
    assert not is_task_id(tenant_slug(one))
    assert check_key(clip_key(TASK, 1, one))
    if one != other:
        assert tenant_slug(one).lower() != tenant_slug(other).lower()
    assert tenant_slug("a") != tenant_slug("A")
    assert tenant_slug(TASK) != TASK


@pytest.mark.parametrize(
    ("key", "kind", "name"),
    [
        (clip_key(TASK, 2, "acme"), "video/mp4", f"clips-{TASK}.mp4"),
        (preview_key(TASK, "thumbnail.webp", "acme"), "image/webp", f"previews-{TASK}-thumbnail.webp"),
        (upload_key(TASK, "acme"), "application/octet-stream", f"uploads-{TASK}-file"),
    ],
)
def test_a_file_is_served_as_what_its_key_says(key, kind, name):
    assert media_type(key) == kind
    assert disposition(key) == f'attachment; filename="{name}"'
