package gs

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func TestPage(t *testing.T) {
	b, _ := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("prefix") != "jobs/a" || q.Get("delimiter") != "/" || q.Get("maxResults") != "7" || q.Get("pageToken") != "" {
			t.Errorf("the request is %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"prefixes":["jobs/ab/"],"items":[{"name":"jobs/a.tar.gz"}]}`)
	})
	got, err := b.Page(t.Context(), cloud.PageRequest{Prefix: "jobs/a", Size: 7})
	noError(t, err)
	if len(got.Objects) != 2 || got.Objects[0].Name != "jobs/a.tar.gz" || got.Objects[1].Name != "jobs/ab/" {
		t.Errorf("the page is %+v", got)
	}
}

func TestDoctorsCredentials(t *testing.T) {
	b, _ := testBackend(t, config{anonymous: true})
	if detail, err := b.Doctor().Credentials(t.Context()); err != nil || !strings.Contains(detail, "anonymous") {
		t.Errorf("anonymous: %q, %v", detail, err)
	}
	t.Setenv(emulator, "127.0.0.1:1")
	b, _ = testBackend(t, config{})
	if detail, err := b.Doctor().Credentials(t.Context()); err != nil || !strings.Contains(detail, emulator) {
		t.Errorf("with an emulator: %q, %v", detail, err)
	}
	t.Setenv(emulator, "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	b, _ = testBackend(t, config{})
	if _, err := b.Doctor().Credentials(t.Context()); cloud.Classify(b, err).Todo == "" {
		t.Errorf("without the file: %v", err)
	}
}
