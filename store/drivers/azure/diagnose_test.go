package azure

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// listing answers with blobs, as the service lists them.
func listing(blobs string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		if r.URL.Query().Get("comp") == "list" {
			fmt.Fprintf(w, `<?xml version="1.0"?><EnumerationResults ContainerName="box"><Blobs>%s</Blobs></EnumerationResults>`, blobs)
		}
	}
}

func TestPage(t *testing.T) {
	asked := ""
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked += r.URL.Query().Get("prefix") + " " + r.URL.Query().Get("delimiter") + " " + r.URL.Query().Get("maxresults") + ";"
		listing(`<Blob><Name>jobs/a.tar.gz</Name><Properties><Last-Modified>`+someTime+`</Last-Modified><Content-Length>7</Content-Length></Properties></Blob><BlobPrefix><Name>jobs/ab/</Name></BlobPrefix>`)(w, r)
	})
	page, err := b.Page(t.Context(), cloud.PageRequest{Prefix: "jobs/a", Size: 7})
	if err != nil || len(page.Objects) != 2 || page.Objects[0].Name != "jobs/a.tar.gz" || page.Objects[1].Name != "jobs/ab/" {
		t.Errorf("the page is %+v, %v", page, err)
	}
	if _, err := b.Page(t.Context(), cloud.PageRequest{Prefix: "jobs/a"}); err != nil {
		t.Error(err)
	}
	if asked != "jobs/a / 7;jobs/a / 5000;" {
		t.Errorf("asked %q", asked)
	}
	if _, err := answering(t, refusing(http.StatusForbidden, "AuthorizationPermissionMismatch")).Page(t.Context(), cloud.PageRequest{}); err == nil {
		t.Error("no error of a list that is denied")
	}
}

func TestCredentialsOfNobody(t *testing.T) {
	environment(t, nil)
	_, credential, err := clientFor(t, "az://box?storage_account=acct")
	if err != nil {
		t.Fatal(err)
	}
	b := at(t, "https://acct.blob.core.windows.net/box")
	b.credential = credential
	if _, err := b.Doctor().Credentials(t.Context()); cloud.Classify(b, err).Todo != todoLogin {
		t.Errorf("error %v", err)
	}
}
