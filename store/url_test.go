package store

import (
	"errors"
	"os"
	"path"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	here := strings.TrimPrefix(dir, "/")
	for _, tc := range []struct {
		in   string
		want URL
	}{
		{"gs://b/jobs/job-1", URL{"gs", "b", "jobs/job-1", "", ""}},
		{"gs://b/jobs/job-1/", URL{"gs", "b", "jobs/job-1", "", ""}},
		{"gs://b/jobs/job-1///", URL{"gs", "b", "jobs/job-1", "", ""}},
		{"gcs://b/k", URL{"gs", "b", "k", "", ""}},
		{"s3://b/a%20b", URL{"s3", "b", "a%20b", "", ""}},
		{"s3://b/a%zz", URL{"s3", "b", "a%zz", "", ""}},
		{"s3a://b/k", URL{"s3", "b", "k", "", ""}},
		{"S3://B/K", URL{"s3", "B", "K", "", ""}},
		{"s3://b//k", URL{"s3", "b", "/k", "", ""}},
		{"s3://b/a//k", URL{"s3", "b", "a//k", "", ""}},
		{"s3://b/a b", URL{"s3", "b", "a b", "", ""}},
		{"s3://b/x.tar.gz", URL{"s3", "b", "x.tar.gz", "", ""}},
		{"s3://b/.hidden/..x/x..", URL{"s3", "b", ".hidden/..x/x..", "", ""}},
		{"s3://b/k/?region=eu&endpoint=http://h:1/", URL{"s3", "b", "k", "region=eu&endpoint=http://h:1/", ""}},
		{"s3://b/k?a=1?b=2", URL{"s3", "b", "k", "a=1?b=2", ""}},
		{"s3://b/k@0123456789abcdef", URL{"s3", "b", "k", "", "0123456789abcdef"}},
		{"s3://b/k@0123456a/?region=eu", URL{"s3", "b", "k", "region=eu", "0123456a"}},
		{"s3://b/k@01234567012345670123456701234567", URL{"s3", "b", "k", "", "01234567012345670123456701234567"}},
		{"s3://b/k@20261130", URL{"s3", "b", "k@20261130", "", ""}},
		{"s3://b/k@0123456a@", URL{"s3", "b", "k@0123456a", "", ""}},
		{"s3://b/k@0123456a@@", URL{"s3", "b", "k@0123456a@", "", ""}},
		{"s3://b/k@0123456a@0123456b", URL{"s3", "b", "k@0123456a", "", "0123456b"}},
		{"s3://b/k@", URL{"s3", "b", "k@", "", ""}},
		{"s3://b/k@0123ABCD", URL{"s3", "b", "k@0123ABCD", "", ""}},
		{"s3://b/k@0123456a/l", URL{"s3", "b", "k@0123456a/l", "", ""}},
		{"/tmp/k@0123456a", URL{"file", "", "tmp/k", "", "0123456a"}},
		{"s3://b/user@host:1", URL{"s3", "b", "user@host:1", "", ""}},
		{"az://c/k", URL{"azblob", "c", "k", "", ""}},
		{"abfs://c/k", URL{"azblob", "c", "k", "", ""}},
		{"abfss://c/k", URL{"azblob", "c", "k", "", ""}},
		{"azblob://c/k", URL{"azblob", "c", "k", "", ""}},
		{"azblob://c/user@host", URL{"azblob", "c", "user@host", "", ""}},
		{"abfs://c@acc1.dfs.core.windows.net/a//k/", URL{"azblob", "c", "a//k", "storage_account=acc1", ""}},
		{"abfss://c@acc1.dfs.core.windows.net/k@x", URL{"azblob", "c", "k@x", "storage_account=acc1", ""}},
		{"az://c@ACC1.blob.core.windows.net/k?cdn=true", URL{"azblob", "c", "k", "storage_account=acc1&cdn=true", ""}},
		{"azblob://$web@acc1.blob.core.windows.net/k", URL{"azblob", "$web", "k", "storage_account=acc1", ""}},
		{"abfs://c@acc1.dfs.core.chinacloudapi.cn/k", URL{"azblob", "c", "k", "storage_account=acc1&domain=blob.core.chinacloudapi.cn", ""}},
		{"abfs://c@acc1.dfs.core.usgovcloudapi.net/k", URL{"azblob", "c", "k", "storage_account=acc1&domain=blob.core.usgovcloudapi.net", ""}},
		{"abfs://c@acc1.z01.dfs.storage.azure.net/k", URL{"azblob", "c", "k", "storage_account=acc1&domain=z01.blob.storage.azure.net", ""}},
		{"mem://b/k", URL{"mem", "b", "k", "", ""}},
		{"memory://b/k/l", URL{"mem", "b", "k/l", "", ""}},
		{"file:///tmp/x/y", URL{"file", "", "tmp/x/y", "", ""}},
		{"file:/tmp/x/y", URL{"file", "", "tmp/x/y", "", ""}},
		{"local:///tmp/x/y", URL{"file", "", "tmp/x/y", "", ""}},
		{"local:/tmp/x/y", URL{"file", "", "tmp/x/y", "", ""}},
		{"/tmp/x/y", URL{"file", "", "tmp/x/y", "", ""}},
		{"/tmp/x/y///", URL{"file", "", "tmp/x/y", "", ""}},
		{"/tmp/ü/a:b", URL{"file", "", "tmp/ü/a:b", "", ""}},
		{"/tmp/a://b", URL{"file", "", "tmp/a://b", "", ""}},
		{"x/y", URL{"file", "", here + "/x/y", "", ""}},
		{"./x/y/", URL{"file", "", here + "/x/y", "", ""}},
		{".//./a:b", URL{"file", "", here + "/a:b", "", ""}},
		{"../x", URL{"file", "", path.Dir(here) + "/x", "", ""}},
		{"x/../.././y", URL{"file", "", path.Dir(here) + "/y", "", ""}},
		{"/tmp/a//../b", URL{"file", "", "tmp/a/b", "", ""}},
		{"/tmp//a", URL{"file", "", "tmp//a", "", ""}},
		{"file:///../tmp/./x", URL{"file", "", "tmp/x", "", ""}},
	} {
		got, err := ParseURL(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("ParseURL(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
		}
		if again, err := ParseURL(got.String()); err != nil || again != got {
			t.Errorf("ParseURL(%q), of the String of %q, = %+v, %v", got, tc.in, again, err)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, tc := range []struct {
		in   string
		says string
	}{
		{"", "empty"},
		{"/", "no path"},
		{"///", "no path"},
		{".", "no path"},
		{"./", "no path"},
		{"file:///", "no path"},
		{"file:", "not absolute"},
		{"file:x", "not absolute"},
		{"file://", "host"},
		{"file://host/x", `"host"`},
		{"file://tmp/x", "file:///tmp/x"},
		{"local://tmp/x", "file:///tmp/x"},
		{"s3://", "no bucket"},
		{"s3:///k", "no bucket"},
		{"s3://b", "no key"},
		{"s3://b/", "no key"},
		{"s3://b///?x=y", "no key"},
		{"s3:b/k", `no "//"`},
		{"s3:/b/k", `no "//"`},
		{"s4://b/k", `unknown scheme "s4"; the known ones are azblob, file, gs, mem, s3`},
		{"://b/k", "unknown scheme"},
		{" s3://b/k", "unknown scheme"},
		{"ftp://b/k", "unknown scheme"},
		{"http://b/k", "s3://bucket/key?endpoint=https://b"},
		{"https://acc1.blob.core.windows.net/c/a/k.tar.gz", "write abfs://c@acc1.blob.core.windows.net/a/k"},
		{"https://acc1.dfs.core.windows.net/", "write abfs://CONTAINER@acc1.dfs.core.windows.net/KEY"},
		{"https://acc1.blob.core.windows.net/c/k?sv=1&sig=secret", "write abfs://c@acc1.blob.core.windows.net/k"},
		{"https://storage.googleapis.com/b/a/k", "write gs://b/a/k"},
		{"https://b.storage.googleapis.com/k", "write gs://b/k"},
		{"HTTPS://b.s3.eu-west-1.amazonaws.com/k", "write s3://b/k?region=eu-west-1"},
		{"https://s3-eu-west-1.amazonaws.com/b/k", "write s3://b/k?region=eu-west-1"},
		{"https://my-s3-data.s3.amazonaws.com/k", "write s3://my-s3-data/k"},
		{"https://ec2.amazonaws.com/k", "endpoint="},
		{"https://id:secret@acc1.blob.core.windows.net/c/k", "credentials"},
		{"a:b/c", `"./"`},
		{"s3://b/a/../k", `".."`},
		{"s3://b/./k", `"."`},
		{"s3://b/..", `".."`},
		{"s3://../k", `".."`},
		{"/tmp/..", "no path"},
		{"file:///../", "no path"},
		{"x/..", "no path"},
		{"s3://b/k#1", `"#"`},
		{"s3://b/k?a=#", `"#"`},
		{"s3://b/a\nb", "control"},
		{"s3://b/a\x00b", "control"},
		{"s3://b/a\x7fb", "control"},
		{"s3://b/a\u0085b", "control"},
		{"s3://b/a\xffb", "UTF-8"},
		{"s3://id:secret@b/k", "credentials"},
		{"s3://id:sec/ret@b/k", "bucket"},
		{"s3://b:9000/k", `":"`},
		{`az://c/a\b`, `"\", which Azure takes for a "/"`},
		{"abfs://c@acc1.example.com/k", "storage_account=ACCOUNT&domain=DOMAIN"},
		{"abfs://c@acc1.queue.core.windows.net/k", `"acc1.queue.core.windows.net"`},
		{"abfs://c@acc1.dfs.core.windows.net:443/k", `"acc1.dfs.core.windows.net:443"`},
		{"abfs://c@-.dfs.core.windows.net/k", `"-.dfs.core.windows.net"`},
		{"abfs://c@d@acc1.dfs.core.windows.net/k", "credentials before"},
		{"abfs://@acc1.dfs.core.windows.net/k", "no container"},
		{"abfs://c@acc1.dfs.core.windows.net", "no key"},
		{"abfs://acc1.dfs.core.windows.net/c/k", "CONTAINER@acc1"},
		{"abfs://id:secret@acc1.dfs.core.windows.net/k", "credentials"},
		{"abfs://c@acc1.dfs.core.windows.net/k?storage_account=acc2", "leave one"},
		{"abfs://c@acc1.dfs.core.windows.net/k?sig=secret&domain=d", "leave one"},
		{"s3://?token=secret", "no bucket"},
	} {
		_, err := ParseURL(tc.in)
		if !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("ParseURL(%q) returns %v; want ErrURL that says %q", tc.in, err, tc.says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseURL(%q) shows a secret: %v", tc.in, err)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	here := strings.TrimPrefix(dir, "/")
	for _, tc := range []struct {
		in     string
		want   URL
		prefix string
	}{
		{"s3://b", URL{"s3", "b", "", "", ""}, ""},
		{"s3://b/?x=y", URL{"s3", "b", "", "x=y", ""}, ""},
		{"s3://b/jobs/", URL{"s3", "b", "jobs", "", ""}, "jobs/"},
		{"abfs://c@acc1.dfs.core.windows.net", URL{"azblob", "c", "", "storage_account=acc1", ""}, ""},
		{"mem://b", URL{"mem", "b", "", "", ""}, ""},
		{"file:///", URL{"file", "", "", "", ""}, ""},
		{"/", URL{"file", "", "", "", ""}, ""},
		{"/tmp", URL{"file", "", "tmp", "", ""}, "tmp/"},
		{".", URL{"file", "", here, "", ""}, here + "/"},
		{"./", URL{"file", "", here, "", ""}, here + "/"},
		{"jobs", URL{"file", "", here + "/jobs", "", ""}, here + "/jobs/"},
	} {
		got, err := ParsePrefix(tc.in)
		if err != nil || got != tc.want || got.prefix() != tc.prefix {
			t.Errorf("ParsePrefix(%q) = %+v, %v; want %+v", tc.in, got, err, tc.want)
		}
		if again, err := ParsePrefix(got.String()); err != nil || again != got {
			t.Errorf("ParsePrefix(%q), of the String of %q, = %+v, %v", got, tc.in, again, err)
		}
	}
	for _, in := range []string{"", "s3://", "s4://b"} {
		if _, err := ParsePrefix(in); !errors.Is(err, ErrURL) {
			t.Errorf("ParsePrefix(%q) returns %v, want ErrURL", in, err)
		}
	}
}

// A working directory whose name has a question mark would become an option of
// the driver.
func TestParseURLRefusesWorkingDirectory(t *testing.T) {
	dir := t.TempDir() + "/a?b"
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if u, err := ParseURL("x"); !errors.Is(err, ErrURL) {
		t.Errorf("ParseURL in %s returns %v, %v; want ErrURL", dir, u, err)
	}
}

func TestIdentity(t *testing.T) {
	tests := []struct{ url, want string }{
		{"s3a://bucket/a/b?region=eu&endpoint=http://h", "s3://bucket/a/b"},
		{"abfs://box@account.dfs.core.windows.net/key", "azblob://box/key"},
		{"/srv/ws//", "file:///srv/ws"},
		{"memory://bucket/key", "mem://bucket/key"},
	}
	for _, tt := range tests {
		u, err := ParseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Identity(); got != tt.want {
			t.Errorf("Identity of %s = %s, want %s", tt.url, got, tt.want)
		}
	}
}
