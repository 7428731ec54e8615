package gs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// google stands for the server of objects and the one of tokens.
type google struct {
	*httptest.Server
	tokens func(w http.ResponseWriter, r *http.Request)
	seen   []string // Authorization headers of requests for objects
}

func newGoogle(t *testing.T, tokens http.HandlerFunc) *google {
	g := &google{tokens: tokens}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/storage/") {
			g.tokens(w, r)
			return
		}
		g.seen = append(g.seen, r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"name":"key.tar.gz","generation":"7","size":"3"}`))
	}))
	t.Cleanup(g.Close)
	return g
}

// backend returns a backend that needs credentials.
func (g *google) backend(t *testing.T) (*backend, *cloud.Transport) {
	return testBackend(t, config{endpoint: g.URL + "/storage/v1/"})
}

func giveToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"access_token":"secret","token_type":"Bearer","expires_in":3600}`))
}

// keyFile writes the key of a service account whose tokens come from g, and leads
// Google's libraries to it.
func (g *google) keyFile(t *testing.T) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	noError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	noError(t, err)
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "project", "client_email": "ann@example.com", "private_key_id": "id",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":   g.URL + "/token",
	})
	noError(t, err)
	useFile(t, content)
}

func useFile(t *testing.T, content []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.json")
	noError(t, os.WriteFile(path, content, 0o600))
	t.Setenv(emulator, "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
}

func TestKeyFile(t *testing.T) {
	g := newGoogle(t, giveToken)
	g.keyFile(t)
	b, transport := g.backend(t)
	for range 2 {
		a, err := b.Head(cloud.Operation(t.Context(), "head"), "key.tar.gz")
		noError(t, err)
		if a.Revision != "7" || a.Size != 3 {
			t.Fatalf("the object is %+v", a)
		}
	}
	if len(g.seen) != 2 || g.seen[0] != "Bearer secret" {
		t.Fatalf("the server of objects saw %q", g.seen)
	}
	traffic := transport.Traffic()
	if traffic["head"].Count != 2 || traffic["head"].Retries != 0 || traffic["other"].Count != 1 {
		t.Fatalf("the traffic was %+v", traffic)
	}
}

// onGoogle lets this process see g as the metadata server of its machine.
func (g *google) onGoogle(t *testing.T) {
	t.Helper()
	t.Setenv(emulator, "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(g.URL, "http://"))
}

func TestMetadataServer(t *testing.T) {
	g := newGoogle(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/universe/universe-domain") {
			_, _ = w.Write([]byte("googleapis.com"))
			return
		}
		giveToken(w, r)
	})
	g.onGoogle(t)
	b, _ := g.backend(t)
	_, err := b.Head(t.Context(), "key.tar.gz")
	noError(t, err)
	if len(g.seen) != 1 || g.seen[0] != "Bearer secret" {
		t.Fatalf("the server of objects saw %q", g.seen)
	}
}

func TestMachineWithoutServiceAccount(t *testing.T) {
	g := newGoogle(t, http.NotFound)
	g.onGoogle(t)
	b, _ := g.backend(t)
	_, err := b.Head(t.Context(), "key.tar.gz")
	wantRefusal(t, b, err, cloud.Unidentified, "give this machine a service account")
}

func TestRefusedTokens(t *testing.T) {
	tests := []struct {
		name string
		code int
		want cloud.Meaning
		todo string
	}{
		{"key that was removed", 400, cloud.Unidentified, "clock"},
		{"not allowed", 403, cloud.Unidentified, "log in again"},
		{"out of order", 503, cloud.Broken, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.code)
				_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`))
			})
			g.keyFile(t)
			b, _ := g.backend(t)
			_, err := b.Head(t.Context(), "key.tar.gz")
			wantRefusal(t, b, err, test.want, test.todo)
			if len(g.seen) != 0 {
				t.Fatalf("the server of objects saw %q", g.seen)
			}
		})
	}
}

func TestUselessKeyFiles(t *testing.T) {
	b, _ := testBackend(t, config{})
	for name, content := range map[string]string{"garbage": "key", "other JSON": "{}", "unknown type": `{"type":"passport"}`} {
		t.Run(name, func(t *testing.T) {
			useFile(t, []byte(content))
			_, err := b.Head(t.Context(), "key.tar.gz")
			wantRefusal(t, b, err, cloud.Unidentified, "gcloud auth application-default login")
		})
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
	_, err := b.Head(t.Context(), "key.tar.gz")
	wantRefusal(t, b, err, cloud.Unidentified, "GOOGLE_APPLICATION_CREDENTIALS")
	if !strings.Contains(err.Error(), "/nowhere/key.json") {
		t.Fatalf("the error %v does not name the file", err)
	}
}

// Who logs in need not start the program again.
func TestLoginLater(t *testing.T) {
	g := newGoogle(t, giveToken)
	b, _ := g.backend(t)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
	_, err := b.Head(t.Context(), "key.tar.gz")
	wantRefusal(t, b, err, cloud.Unidentified, "")
	g.keyFile(t)
	_, err = b.Head(t.Context(), "key.tar.gz")
	noError(t, err)
}

func TestNoCredentialsForAnonymous(t *testing.T) {
	g := newGoogle(t, func(http.ResponseWriter, *http.Request) { t.Error("a token was asked for") })
	g.keyFile(t)
	b, _ := testBackend(t, config{anonymous: true, endpoint: g.URL + "/storage/v1/"})
	_, err := b.Head(t.Context(), "key.tar.gz")
	noError(t, err)
	if len(g.seen) != 1 || g.seen[0] != "" {
		t.Fatalf("the server of objects saw %q", g.seen)
	}
}
