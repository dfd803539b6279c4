# The API with curl alone: every mode, local files, list, cancel, download. Needs BASE, KEY, PICTURE, VIDEO and OUT.
create() {  # a body on stdin; prints the answer
    curl -sS "$BASE/services/aigc/video-generation/video-synthesis" -H "Authorization: Bearer $KEY" \
        -H 'Content-Type: application/json' -H 'X-DashScope-Async: enable' \
        -H 'X-DashScope-OssResourceResolve: enable' --data @-
}

get() {  # a path; prints the answer
    curl -sS "$BASE/$1" -H "Authorization: Bearer $KEY"
}

upload() {  # a model and a file; prints the oss:// URL
    policy=$(get "uploads?action=getPolicy&model=$1")
    key="$(echo "$policy" | jq -r .data.upload_dir)/${2##*/}"
    curl -sS -f -o /dev/null "$(echo "$policy" | jq -r .data.upload_host)" \
        -F "policy=$(echo "$policy" | jq -r .data.policy)" -F "Signature=$(echo "$policy" | jq -r .data.signature)" \
        -F "key=$key" -F "success_action_status=200" -F "file=@$2"
    echo "oss://$key"
}

finish() {  # the answer to a create on stdin; waits, downloads, prints state and id
    task=$(jq -r .output.task_id)
    state=PENDING
    while [ "$state" = PENDING ] || [ "$state" = RUNNING ]; do
        sleep 0.1
        answer=$(get "tasks/$task")
        state=$(echo "$answer" | jq -r .output.task_status)
    done
    [ "$state" = SUCCEEDED ] || { echo "$answer"; exit 1; }
    curl -sS -f -o "$OUT/$task.mp4" "$(echo "$answer" | jq -r .output.video_url)"
    echo "$state $task"
}

wanted='"parameters": {"resolution": "720P", "duration": 3}'

create <<EOF | finish
{"model": "happyhorse-1.0-t2v", "input": {"prompt": "a horse at dawn"}, $wanted}
EOF

create <<EOF | finish
{"model": "happyhorse-1.0-i2v", "input": {"media": [{"type": "first_frame",
 "url": "data:image/png;base64,$(base64 -w0 "$PICTURE")"}]}, $wanted}
EOF

create <<EOF | finish
{"model": "happyhorse-1.0-r2v", "input": {"prompt": "[Image 1] waves",
 "media": [{"type": "reference_image", "url": "$(upload happyhorse-1.0-r2v "$PICTURE")"}]}, $wanted}
EOF

create <<EOF | finish
{"model": "happyhorse-1.0-video-edit", "input": {"prompt": "at night",
 "media": [{"type": "video", "url": "$(upload happyhorse-1.0-video-edit "$VIDEO")"}]}, $wanted}
EOF

get "tasks?page_no=1&page_size=10&status=SUCCEEDED"
echo

task=$(echo '{"model": "happyhorse-1.0-t2v", "input": {"prompt": "never mind"}}' | create | jq -r .output.task_id)
curl -sS -X POST "$BASE/tasks/$task/cancel" -H "Authorization: Bearer $KEY"
get "tasks/$task" | jq -r .output.task_status
