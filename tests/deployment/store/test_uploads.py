"""Uploads in the store: whose they are, how long they are kept, and how much a tenant may have."""

from __future__ import annotations

import threading

from deployment.store.upload_verbs import Upload, UploadStart


def file_of(name, num_bytes=10, tenant="alice"):
    return Upload(f"id {name} of {tenant}", tenant, "happyhorse-1.0-i2v", f"uploads/1/{name}", num_bytes)


def begin(store, upload, hold_seconds=50.0, most_bytes=100):
    return store.begin_upload(upload, hold_seconds, most_bytes)


def test_a_file_can_be_found_once_it_is_complete_by_its_own_tenant_until_its_time_is_over(timed, clock):
    upload = file_of("'; DROP TABLE uploads; -- 马.png")
    assert begin(timed, upload) is UploadStart.BEGUN
    assert timed.upload("alice", upload.object_key) is None
    assert timed.has_upload(upload.upload_id)
    assert timed.finish_upload(upload.upload_id, "ab", 7, 20.0)
    found = timed.upload("alice", upload.object_key)
    assert (found.upload_id, found.sha256, found.num_bytes, found.expires_at) == (upload.upload_id, "ab", 7, 1020.0)
    assert timed.upload("bob", upload.object_key) is None
    assert timed.uploaded_bytes("alice") == 7
    assert not timed.finish_upload(upload.upload_id, "cd", 9, 20.0)  # it is what it is
    clock[0] += 20.0
    assert timed.upload("alice", upload.object_key) is None
    assert timed.expire_uploads() == [upload.upload_id]
    assert (timed.has_upload(upload.upload_id), timed.uploaded_bytes("alice"), timed.expire_uploads()) == (False, 0, [])


def test_a_name_is_taken_once_per_tenant(store):
    assert begin(store, file_of("a")) is UploadStart.BEGUN
    assert begin(store, Upload("another", "alice", "m", "uploads/1/a", 1)) is UploadStart.TAKEN
    assert begin(store, file_of("a", tenant="bob")) is UploadStart.BEGUN
    assert (store.uploaded_bytes("alice"), store.uploaded_bytes("bob")) == (10, 10)


def test_the_bytes_of_a_tenant_are_bounded_while_files_come_in_and_after(timed, clock):
    assert begin(timed, file_of("large", 101)) is UploadStart.FULL
    assert begin(timed, file_of("a", 60)) is UploadStart.BEGUN
    assert begin(timed, file_of("b", 41)) is UploadStart.FULL
    assert not timed.has_upload(file_of("b").upload_id)
    assert timed.finish_upload(file_of("a").upload_id, "ab", 59, 1000.0)
    assert begin(timed, file_of("b", 41)) is UploadStart.BEGUN
    timed.drop_upload(file_of("b").upload_id)
    timed.drop_upload("no such")
    assert begin(timed, file_of("c", 41)) is UploadStart.BEGUN
    clock[0] += 50.0  # c was never completed
    assert not timed.upload("alice", "uploads/1/c")
    assert timed.expire_uploads() == [file_of("c").upload_id]
    assert not timed.finish_upload(file_of("c").upload_id, "ab", 41, 10.0)
    assert timed.uploaded_bytes("alice") == 59


def test_uploads_at_once_never_take_more_than_there_is(store):
    answers = []
    files = [file_of(str(number), 30) for number in range(10)]
    threads = [threading.Thread(target=lambda one=one: answers.append(begin(store, one))) for one in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [UploadStart.BEGUN] * 3 + [UploadStart.FULL] * 7
    assert store.uploaded_bytes("alice") == 90


def test_a_tenants_uploads_and_keys_are_forgotten_and_nobody_elses(timed, new_task):
    for tenant in ("alice", "bob"):
        upload = file_of("a", tenant=tenant)
        assert begin(timed, upload) is UploadStart.BEGUN
        assert timed.finish_upload(upload.upload_id, "ab", 7, 20.0)
        timed.create(new_task(tenant=tenant, idempotency_key="order-1"))
    assert timed.forget_uploads("alice") == [file_of("a").upload_id]
    assert (timed.upload("alice", "uploads/1/a"), timed.uploaded_bytes("alice")) == (None, 0)
    assert timed.key_task_id("alice", "order-1", "") is None
    assert timed.upload("bob", "uploads/1/a") is not None
    assert timed.uploaded_bytes("bob") == 7
    assert timed.key_task_id("bob", "order-1", "") is not None
