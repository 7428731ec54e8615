package store

import (
	"errors"
	"strings"
	"testing"
)

func TestRedacted(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"s3://b/k", "s3://b/k"},
		{"s3://b/k?region=eu&use_path_style=true", "s3://b/k?region=eu&use_path_style=true"},
		{"s3://b/k?secret_key=x&region=eu", "s3://b/k?secret_key=REDACTED&region=eu"},
		{"s3://b/k?Region=eu&SAS=x", "s3://b/k?Region=eu&SAS=REDACTED"},
		{"s3://b/k?endpoint=http://h:9000/path", "s3://b/k?endpoint=http://h:9000/path"},
		{"s3://b/k?endpoint=http://u:p@h", "s3://b/k?endpoint=REDACTED"},
		{"s3://b/k?endpoint=http://u:p%40h", "s3://b/k?endpoint=REDACTED"},
		{"s3://b/k?endpoint=http://h/?token=x&region=eu", "s3://b/k?endpoint=REDACTED&region=eu"},
		{"s3://b/k?endpoint=http%3A%2F%2Fh%2F%3Ftoken%3Dx", "s3://b/k?endpoint=REDACTED"},
		{"s3://b/k?endpoint=http%253A%252F%252Fh%253Ftoken", "s3://b/k?endpoint=REDACTED"},
		{"s3://b/k?region=eu;secret_key=x", "s3://b/k?region=REDACTED"},
		{"s3://b/k?region=eu%3Bsecret_key=x", "s3://b/k?region=REDACTED"},
		{"s3://b/k?token=a=b", "s3://b/k?token=REDACTED"},
		{"s3://b/k?dG9rZW4==", "s3://b/k?REDACTED"},
		{"s3://b/k?&region=eu", "s3://b/k?&region=eu"},
	} {
		u, err := ParseURL(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Redacted(); got != tc.want {
			t.Errorf("Redacted of %s = %s, want %s", tc.in, got, tc.want)
		}
		if got := Redacted(tc.in); got != tc.want {
			t.Errorf("Redacted of the text %s = %s, want %s", tc.in, got, tc.want)
		}
	}
}

// What is no URL, or not yet one, is shown in errors too.
func TestRedactText(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"s3://bucket/key", "s3://bucket/key"},
		{"/srv/a@b:c/d", "/srv/a@b:c/d"},
		{"jobs/a@b", "jobs/a@b"},
		{"s3:bucket/key", "s3:bucket/key"},
		{"s3://localhost:9000/key", "s3://localhost:9000/key"},
		{"abfs://{x}@account.dfs.core.windows.net/k", "abfs://REDACTED@account.dfs.core.windows.net/k"},
		{"s3://user:pass@bucket/key", "s3://REDACTED@bucket/key"},
		{"s3://user:pa/ss@bucket/key", "s3://REDACTED@bucket/key"},
		{"s3://token@bucket/key", "s3://REDACTED@bucket/key"},
		{"s3:user:pass@bucket/key", "s3:REDACTED@bucket/key"},
		{"s3:///user:pass@bucket/key", "s3:///REDACTED@bucket/key"},
		{"s3://bucket:pass/key", "s3://bucket:REDACTED/key"},
		{"file://user:pass@host/path", "file://REDACTED@host/path"},
		{"user:pass@host/path", "user:REDACTED@host/path"},
		{"https://user:pass@host/path?sig=x", "https://REDACTED@host/path?sig=REDACTED"},
		{"s3://b/k?pass", "s3://b/k?REDACTED"},
	} {
		if got := RedactText(tc.in); got != tc.want {
			t.Errorf("RedactText of %s = %s, want %s", tc.in, got, tc.want)
		}
	}
}

// No error about a URL shows what could be a secret in it.
func TestParseURLKeepsSecrets(t *testing.T) {
	for _, url := range []string{
		"s3://user:hunter2@bucket/key", "s3:user:hunter2@bucket/key", "s3://bucket:hunter2/key", "s3://b/k?hunter2",
		"s3://b/../k?token=hunter2", "s3://b/k?a=b&hunter2", "file://user:hunter2@host/path", "file://hunter2@host/path",
		"file:user:hunter2@host", "user:hunter2@host/key", "https://user:hunter2@h/k", "http://h/k?sig=hunter2",
		"https://account.blob.core.windows.net/c/k?sv=1&sig=hunter2", "abfs://c:hunter2@account.dfs.core.windows.net/k",
		"abfs://c@hunter2@account.dfs.core.windows.net/k", "azblob://u:hunter2@c/k", "s3://b/#?token=hunter2",
		"ftp://u:hunter2@h/k", "s3://b/k\x01?token=hunter2",
	} {
		for name, parse := range map[string]func(string) (URL, error){"ParseURL": ParseURL, "ParsePrefix": ParsePrefix} {
			_, err := parse(url)
			if !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s of %q: %v; want ErrURL without the secret", name, url, err)
			}
		}
	}
}
