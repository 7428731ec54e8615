package cloud

import (
	"errors"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// What is wrong with an option is told by its name, and never shows what could be a
// secret: a value, and a name that is none.
func TestParseOptions(t *testing.T) {
	known := map[string]Option{"text": Text, "any": nil, "yes": YesOrNo, "address": Address}
	for query, want := range map[string]string{
		"":                              "",
		"text=a&any=&yes=1":             "",
		"address=https://host:1/path":   "",
		"%zz=hidden":                    "name=value",
		"hidden":                        "not name=value; those of s3 are address, any, text, yes",
		"text=a&hiddenToken":            "not name=value",
		"hidden+token/1=":               "not name=value",
		"hidden==":                      "not name=value",
		"colour=hidden":                 `unknown option "colour"`,
		"text=hidden&text=hidden":       `"text" occurs 2 times`,
		"text=":                         `"text": it has no value`,
		"yes=hidden":                    `"yes": write true or false`,
		"address=hidden":                `"address": write https://host`,
		"address=https://a:hidden@host": `"address": write https://host`,
		"address=https://host?t=hidden": `"address": write https://host`,
		"address=ftp://hidden":          `"address": write https://host`,
		"key=hidden":                    `"key"; set VARIABLE`,
	} {
		_, err := ParseOptions(store.URL{Scheme: "s3", Bucket: "bkt", Query: query}, known, map[string]string{"key": "set VARIABLE"})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", query, err)
		case want != "" && (!errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden")):
			t.Errorf("%q: the error is %v, want %q and nothing hidden", query, err, want)
		}
	}
}
