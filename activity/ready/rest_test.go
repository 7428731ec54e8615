package ready_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/activity/ready"
	"github.com/workdir/workdir/activity/wdtest"
)

func TestListDeleteCopy(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	wdtest.Put(t, b.url("jobs/a"), map[string]string{"f": "1"})
	wdtest.Put(t, b.url("jobs/b"), map[string]string{"f": "2"})
	list := func(input string) (out ready.ListResult) {
		t.Helper()
		text, err := b.ready(ctx, "workdir.List", input)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(text), &out))
		return out
	}
	all := list(`{"prefix": "STORE/jobs/"}`)
	require.Len(t, all.Workspaces, 2)
	first := all.Workspaces[0]
	require.Equal(t, "a", first.Name)
	require.Equal(t, b.url("jobs/a"), first.URL)
	require.NotEmpty(t, first.Revision)
	page := list(`{"prefix": "STORE/jobs", "limit": 1}`)
	require.True(t, page.More)
	page = list(`{"prefix": "STORE/jobs", "limit": 1, "after": "a"}`)
	require.False(t, page.More)
	require.Equal(t, "b", page.Workspaces[0].Name)
	require.NotNil(t, list(`{"prefix": "STORE/nothing"}`).Workspaces)

	// Copied once, and again by an attempt that does not know of the first one.
	var copied, again ready.CopyResult
	for _, out := range []*ready.CopyResult{&copied, &again} {
		text, err := b.ready(ctx, "workdir.Copy", `{"from": "STORE/jobs/a", "to": "STORE/jobs/c"}`)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(text), out))
	}
	require.Equal(t, first.Revision, copied.From)
	require.True(t, again.Present)
	require.False(t, copied.Present)
	require.Equal(t, copied.Revision, again.Revision)
	_, err := b.ready(ctx, "workdir.Copy", `{"from": "STORE/jobs/a", "to": "STORE/jobs/b"}`)
	wantType(t, err, errtype.Conflict, false)
	_, err = b.ready(ctx, "workdir.Copy", `{"from": "STORE/jobs/none", "to": "STORE/jobs/b"}`)
	wantType(t, err, errtype.NotExist, false)

	del := func(name, revision string) (string, error) {
		return b.ready(ctx, "workdir.Delete", fmt.Sprintf(`{"workspace": "STORE/jobs/%s", "revision": %q}`, name, revision))
	}
	_, err = del("a", "another")
	wantType(t, err, errtype.Conflict, false)
	for _, want := range []string{`{"deleted":true}`, `{"deleted":false}`} {
		text, err := del("a", first.Revision)
		require.NoError(t, err)
		require.JSONEq(t, want, text)
	}
	text, err := del("b", "")
	require.NoError(t, err)
	require.JSONEq(t, `{"deleted":true}`, text)
}

// Of a clean-up without Temporal age alone decides; a prefix without workspaces is no error.
func TestPrune(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"jobs/old", "jobs/new"} {
		wdtest.Put(t, b.url(name), map[string]string{"f": name})
	}
	old := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(strings.TrimPrefix(b.url("jobs/old"), "file://")+".tar.gz", old, old))
	prune := func(input string) (res ready.PruneResult) {
		out, err := b.ready(t.Context(), ready.Prune, input)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(out), &res))
		return res
	}
	for _, dry := range []bool{true, false} {
		res := prune(fmt.Sprintf(`{"prefix": "STORE/jobs", "olderThanSeconds": 3600, "temporal": false, "dryRun": %v}`, dry))
		require.Equal(t, 2, res.Judged)
		require.Equal(t, 1, res.Removed)
		require.Positive(t, res.Bytes)
		require.Equal(t, ready.Pruned{Name: "old", URL: b.url("jobs/old"), Removed: true, Why: "it is older"}, res.Workspaces[1])
		require.Equal(t, dry, wdtest.Get(t, b.url("jobs/old")) != nil)
	}
	require.Empty(t, prune(`{"prefix": "STORE/none", "olderThanSeconds": 3600, "temporal": false}`).Workspaces)
}
