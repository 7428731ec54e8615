package stores

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"
)

// at leads the desk to another server of a kind, and returns the URL there.
func (d *desk) at(kind Kind, address, bucket, key string) string {
	s := &Server{Kind: kind, Address: address, cloud: clouds[kind]}
	d.env = append(d.env, s.Env()...)
	return s.URL(bucket, key)
}

// Who is not known, or no longer, is told what to set.
func TestCredentials(t *testing.T) {
	noHome := "HOME=/nonexistent"
	for _, tc := range []struct {
		name  string
		kind  Kind
		env   []string
		words []string
	}{
		{"wrong secret", S3, []string{"AWS_SECRET_ACCESS_KEY=wrong"}, []string{"not allowed", "AWS_SECRET_ACCESS_KEY"}},
		{"unknown key", S3, []string{"AWS_ACCESS_KEY_ID=nobody"}, []string{"not allowed", "AWS_ACCESS_KEY_ID"}},
		{"none", S3, []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", noHome}, []string{"not allowed", "AWS_ACCESS_KEY_ID"}},
		{"wrong key", Azure, []string{"AZURE_STORAGE_KEY=d3Jvbmc="}, []string{"not allowed", "the key or SAS token is wrong"}},
		{"none", GS, []string{"STORAGE_EMULATOR_HOST=", "GOOGLE_APPLICATION_CREDENTIALS=", noHome}, []string{"not allowed", "gcloud auth application-default login"}},
	} {
		t.Run(string(tc.kind)+" "+tc.name, func(t *testing.T) {
			s, d := servers[tc.kind], newDesk(t)
			bucket := newBucket(t, s)
			d.exec(s.URL(bucket, "k"), "echo x >file")
			d.env = tc.env
			d.refused(d.execCommand(s.URL(bucket, "k"), "true"), 101, tc.words...)
			d.refused(d.command("ls", s.URL(bucket, "")), 101, tc.words...)
			d.refused(d.execCommand(s.URL(bucket, "new"), "true"), 101, tc.words...)
		})
	}
}

// What only the real clouds say is said by a server of our own.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name  string
		kind  Kind
		says  said
		code  int
		words []string
	}{
		{"expired", S3, says(S3, 400, "ExpiredToken", "The provided token has expired."), 101, []string{"not allowed", "expired", "get new ones"}},
		{"expired", GS, says(GS, 401, "authError", "Invalid Credentials"), 101, []string{"not allowed", "log in again"}},
		{"expired", Azure, says(Azure, 403, "AuthenticationFailed", "Signature not valid in the specified time frame"), 101, []string{"not allowed", "expired"}},
		{"other region", S3, says(S3, 301, "PermanentRedirect", "The bucket is elsewhere.").with("X-Amz-Bucket-Region", "eu-west-1"), 101, []string{"region=eu-west-1"}},
		{"clock", S3, says(S3, 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."), 101, []string{"clock"}},
		{"clock", Azure, says(Azure, 403, "AuthenticationFailed", "Request date header too old").with("Date", hourAgo()), 101, []string{"clock", "1h"}},
		{"forbidden", S3, says(S3, 403, "AccessDenied", "Access Denied"), 101, []string{"not allowed", "s3:GetObject"}},
		{"forbidden", GS, says(GS, 403, "forbidden", "x does not have storage.objects.get access to the object."), 101, []string{"not allowed", "storage.objects.get", "roles/"}},
		{"forbidden", Azure, says(Azure, 403, "AuthorizationPermissionMismatch", "not authorized"), 101, []string{"not allowed", "Storage Blob Data Reader"}},
		{"no object storage", S3, said{200, map[string]string{"Content-Type": "text/html"}, "<html>Welcome</html>"}, 103, []string{"not a tar.gz", "markup"}},
	} {
		t.Run(string(tc.kind)+" "+tc.name, func(t *testing.T) {
			d := newDesk(t)
			url := d.at(tc.kind, serve(t, tc.says), "bucket", "k")
			d.refused(d.execCommand(url, "true"), tc.code, tc.words...)
		})
	}
}

// Credentials that may read only: opening works, and the commit names the
// permission that is missing.
func TestReadOnlyCredentials(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		url := s.URL(bucket, "k")
		d.exec(url, "echo base >file")
		var word string
		switch s.Kind {
		case S3:
			word = "s3:PutObject"
			d.env = readOnlyUser(t, s, bucket)
		case GS:
			word = "storage.objects.create"
			url = denying(t, d, s, bucket, says(GS, 403, "forbidden", "x does not have storage.objects.create access to the object."))
		case Azure:
			word = "Storage Blob Data Contributor"
			url = denying(t, d, s, bucket, says(Azure, 403, "AuthorizationPermissionMismatch", "not authorized"))
		}
		if got := d.exec(url, "cat file"); got != "base\n" {
			t.Errorf("content = %q", got)
		}
		d.refused(d.execCommand(url, "echo new >file"), 106, "nothing was stored", "not allowed", word)
		d.refused(d.command("rm", url), 101, "not allowed")
		d.env = nil
		if got := d.exec(s.URL(bucket, "k"), "cat file"); got != "base\n" {
			t.Errorf("content after the refusal = %q", got)
		}
	})
}

// readOnlyUser makes a user of versitygw who may read a bucket, and returns the
// environment with its credentials.
func readOnlyUser(t *testing.T, s *Server, bucket string) []string {
	t.Helper()
	tools, err := toolsDir()
	noError(t, err)
	user := "reader-" + bucket
	out, err := exec.Command(tools+"/bin/versitygw", "admin", "--access", s3Key, "--secret", s3Secret,
		"--endpoint-url", "http://"+s.Address, "create-user", "--access", user, "--secret", s3Secret, "--role", "user").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":[%q]},
		"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::%s","arn:aws:s3:::%s/*"]}]}`, user, bucket, bucket)
	_, err = s.client.(*s3Client).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy})
	noError(t, err)
	return []string{"AWS_ACCESS_KEY_ID=" + user}
}

// denying returns the URL of k through a proxy that answers to every write.
func denying(t *testing.T, d *desk, s *Server, bucket string, answer said) string {
	t.Helper()
	p, err := NewProxy(s, func(*http.Request) Fault { return None })
	noError(t, err)
	t.Cleanup(func() { noError(t, p.Close()) })
	p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
		if isWrite(r) {
			answer.ServeHTTP(w, r)
		}
		return isWrite(r)
	}
	d.env = proxyEnv(s, p)
	return s.urlAt(p.Address, bucket, "k")
}

// "Not found" is not "new" where the bucket itself is not there.
func TestMissingBucket(t *testing.T) {
	todo := map[Kind]string{S3: "make the bucket", GS: "create the bucket", Azure: "make the container"}
	onEach(t, func(t *testing.T, s *Server) {
		d := newDesk(t)
		for _, cmd := range []*exec.Cmd{
			d.execCommand(s.URL("no-such-bucket", "k"), "true"),
			d.command("exec", "--read-only", s.URL("no-such-bucket", "k"), "--", "true"),
			d.command("ls", s.URL("no-such-bucket", "")),
			d.command("rm", s.URL("no-such-bucket", "k")),
		} {
			d.refused(cmd, 100, "bad workspace URL", "no-such-bucket", todo[s.Kind])
		}
	})
}

// An object that is not an archive is refused, and stays.
func TestNoArchive(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		for i, tc := range []struct{ content, word string }{
			{"", "it is an empty file"},
			{"this is no archive", "not a tar.gz"},
			{"\x1f\x8b\x08garbage", "damaged"},
		} {
			key := fmt.Sprint(i)
			noError(t, s.client.put(t.Context(), bucket, key+".tar.gz", []byte(tc.content)))
			d.refused(d.execCommand(s.URL(bucket, key), "echo new >file"), 103, tc.word)
			got, err := s.client.get(t.Context(), bucket, key+".tar.gz")
			if err != nil || string(got) != tc.content {
				t.Errorf("the object is %q, %v; want %q", got, err, tc.content)
			}
		}
	})
}

// A directory in the archive's place: the gateway of S3 keeps keys as paths.
func TestDirectoryInPlace(t *testing.T) {
	s, d := servers[S3], newDesk(t)
	bucket := newBucket(t, s)
	noError(t, os.MkdirAll(filepath.Join(s.data, bucket, "k.tar.gz", "inner"), 0o755))
	d.refused(d.execCommand(s.URL(bucket, "k"), "echo new >file"), 106, "nothing was stored")
	noError(t, os.RemoveAll(filepath.Join(s.data, bucket, "k.tar.gz")))
}

// A bucket that ignores conditions is found out before the first write.
func TestConditionsIgnored(t *testing.T) {
	for name, url := range map[string]func(t *testing.T, d *desk) string{
		"s3": func(t *testing.T, d *desk) string {
			return d.at(S3, serve(t, &forgetful{objects: map[string][]byte{}}), "bucket", "k")
		},
		"gs": func(t *testing.T, d *desk) string {
			s := servers[GS]
			p, err := NewProxy(s, func(r *http.Request) Fault {
				r.RequestURI = strings.ReplaceAll(r.RequestURI, "ifGenerationMatch=", "unknown=")
				return None
			})
			noError(t, err)
			t.Cleanup(func() { noError(t, p.Close()) })
			d.env = proxyEnv(s, p)
			return s.urlAt(p.Address, newBucket(t, s), "k")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.refused(d.execCommand(url(t, d), "echo new >file"), 106, "nothing was stored", "ignores conditions", "overwrite each other")
		})
	}
}

// A store without room: what was there stays.
func TestFullStore(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test must be run by root: it mounts a small disk")
	}
	disk := t.TempDir()
	noError(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { noError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	s, err := start(t.Context(), S3, disk)
	noError(t, err)
	t.Cleanup(func() { noError(t, s.Stop()) })
	d := newDesk(t)
	bucket := newBucket(t, s)
	d.exec(s.URL(bucket, "k"), "echo base >file")
	for _, size := range []string{"7000000", "9000000"} { // one request, and several parts
		_, stderr, code := d.run(d.execCommand(s.URL(bucket, "k"), `head -c "$1" /dev/urandom >file`, size))
		if code != 106 && code != 109 || !strings.Contains(stderr, "stored") {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	}
	if got := d.exec(s.URL(bucket, "k"), "cat file; echo more >>file"); got != "base\n" {
		t.Errorf("content = %q", got)
	}
	if left := litter(t, s, bucket); len(left) > 0 {
		t.Errorf("left in the bucket: %q", left)
	}
}

// A server is killed while it has the request: the outcome is unknown, and reported as such.
func TestServerGone(t *testing.T) {
	s, err := Start(t.Context(), S3)
	noError(t, err)
	defer func() { noError(t, s.Stop()) }()
	noError(t, s.MakeBucket(t.Context(), "bucket"))
	d := newDesk(t)
	d.exec(s.URL("bucket", "k"), "echo old >file")
	g := newGate("k")
	p, err := NewProxy(s, g.choose)
	noError(t, err)
	defer func() { noError(t, p.Close()) }()
	go func() {
		<-g.reached
		s.Kill()
		g.pass <- None
	}()
	d.refused(d.execCommand(s.urlAt(p.Address, "bucket", "k"), "echo new >file"), 109, "may have been stored", "check the workspace")
	d.refused(d.execCommand(s.URL("bucket", "k"), "true"), 101, "cannot be reached", "look whether the address is right")
	noError(t, s.Restart(t.Context()))
	if got := d.exec(s.URL("bucket", "k"), "cat file"); got != "old\n" {
		t.Errorf("content = %q", got)
	}
}

// Many workspaces cost as many requests as there are pages.
func TestManyWorkspaces(t *testing.T) {
	const many, page = 10_000, 1000
	s, d := servers[S3], newDesk(t)
	bucket := newBucket(t, s)
	dir := filepath.Join(s.data, bucket, "jobs")
	noError(t, os.Mkdir(dir, 0o755))
	for i := range many {
		noError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("job-%05d.tar.gz", i)), nil, 0o644))
	}
	defer func() { noError(t, os.RemoveAll(dir)) }()
	p, err := NewProxy(s, func(*http.Request) Fault { return None })
	noError(t, err)
	defer func() { noError(t, p.Close()) }()
	names := strings.Fields(d.must(d.command("ls", s.urlAt(p.Address, bucket, "jobs"))))
	if len(names) != many || names[0] != "job-00000" || names[many-1] != "job-09999" {
		t.Errorf("%d names, want %d", len(names), many)
	}
	if got := p.Met()[None]; got != many/page {
		t.Errorf("%d requests, want %d", got, many/page)
	}
}

// Keys at the limits, and beyond them.
func TestKeyLimits(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		longest := strings.Repeat(strings.Repeat("k", 99)+"/", 10) + strings.Repeat("l", 1024-1000-len(".tar.gz"))
		for range 2 {
			d.exec(s.URL(bucket, longest), "echo x >>file")
		}
		if got := d.exec(s.URL(bucket, longest), "cat file"); got != "x\nx\n" {
			t.Errorf("content = %q", got)
		}
		d.refused(d.execCommand(s.URL(bucket, longest+"l"), "true"), 100, "1024", "choose another key")
		withMark := s.Bucket(bucket) + "/what?is=this"
		d.refused(d.execCommand(withMark, "true"), 100, "bad workspace URL", "is")
		for _, bad := range []string{"a/../b", "a#b", "a\x01b"} {
			d.refused(d.execCommand(s.Bucket(bucket)+"/"+bad, "true"), 100, "bad workspace URL")
		}
	})
}
