package azure

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// describe is an answer on one line: status, code, the service's own words and the
// id by which its support finds the request.
func describe(answer *azcore.ResponseError) string {
	what := answer.ErrorCode
	if what == "" {
		what = http.StatusText(answer.StatusCode)
	}
	s := fmt.Sprintf("%d %s", answer.StatusCode, what)
	if answer.RawResponse == nil {
		return s
	}
	if words := serviceWords(answer.RawResponse); words != "" {
		s += ": " + words
	}
	if id := answer.RawResponse.Header.Get("x-ms-request-id"); id != "" {
		s += " (request " + cloud.OneLine(id) + ")"
	}
	return s
}

// serviceWords is the message in an answer's body, without the lines that repeat the
// request's id and time, and without the details of signatures.
func serviceWords(resp *http.Response) string {
	body, err := runtime.Payload(resp) // which the SDK has read already
	if err != nil {
		return ""
	}
	var e struct{ Message string }
	if xml.Unmarshal(body, &e) != nil {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(e.Message), "\n")
	return strings.TrimSuffix(cloud.OneLine(first), ".")
}
