package temporal

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/ready"
	"github.com/workdir/workdir/mount"
)

// secret is what the activities of the program "encrypted" return: "rule", "do" and
// workdir.Exec.
const secret = "correct horse battery staple"

// secretFile names a file with the secret, for a command to print.
const secretFile = "secret"

// The program "encrypted" has a client that encrypts payloads.
func init() {
	programs["encrypted"] = func(w worker.Worker, c *config) {
		w.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
			return secret, errors.Join(os.WriteFile(wdactivity.Path(ctx, "file"), nil, 0o644), wdactivity.Commit(ctx))
		}, activity.RegisterOptions{Name: "rule"})
		w.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
			return wdactivity.Do(ctx, c.url("{activity_type}"), nil, func(_ context.Context, ws *mount.Mount) (string, error) {
				return secret, errors.Join(os.WriteFile(ws.Path("file"), nil, 0o644), ws.Commit())
			})
		}, activity.RegisterOptions{Name: "do"})
		if err := ready.Register(w, &ready.Options{Allow: []string{c.url("")}}); err != nil {
			panic(err)
		}
	}
	pluginSetup["encrypted"] = func(o *wdactivity.PluginOptions, c *config) {
		o.Rules = []wdactivity.Rule{{Activity: "rule", URL: c.url("{activity_type}")}}
	}
	clientSetup["encrypted"] = func(o *client.Options) {
		o.DataConverter = converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), encrypting{})
	}
}

// encrypting is a codec as its users write it. What is not encrypted it leaves alone.
type encrypting struct{}

const encrypted = "binary/encrypted"

func (encrypting) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher([]byte("a key of 16 byte"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (c encrypting) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	aead, err := c.aead()
	if err != nil {
		return nil, err
	}
	var out []*commonpb.Payload
	for _, p := range payloads {
		clear, err := p.Marshal()
		if err != nil {
			return nil, err
		}
		out = append(out, &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encrypted)},
			Data:     aead.Seal(nil, nil, clear, nil),
		})
	}
	return out, nil
}

func (c encrypting) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	aead, err := c.aead()
	if err != nil {
		return nil, err
	}
	var out []*commonpb.Payload
	for _, p := range payloads {
		if string(p.Metadata[converter.MetadataEncoding]) == encrypted {
			clear, err := aead.Open(nil, nil, p.Data, nil)
			if err != nil {
				return nil, err
			}
			p = &commonpb.Payload{}
			if err := p.Unmarshal(clear); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// Where the client encrypts payloads no result is in clear in the archive, by whatever
// way in, and the attempt after a kill reads what is kept: the worker is killed after
// the commit.
func TestNothingIsKeptInClear(t *testing.T) {
	tests := map[string][]any{
		"rule": nil,
		"do":   nil,
		ready.Exec: {execInput{
			"argv": []string{"sh", "-c", "touch file; cat $0"}, // $0 follows
		}},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			if len(args) > 0 {
				noError(t, os.WriteFile(e.root+"/"+secretFile, []byte(secret), 0o600))
				in := args[0].(execInput)
				in["workspace"], in["argv"] = e.url(name), append(in["argv"].([]string), e.root+"/"+secretFile)
			}
			w := e.newWorker(workerOptions{Program: "encrypted"})
			awaitKill := w.killBeforeCompletion()
			r := startWorkflow(e, func(ctx workflow.Context) (*commonpb.Payload, error) {
				var out converter.RawValue // this worker does not know the codec
				err := workflow.ExecuteActivity(e.activities(ctx), name, args...).Get(ctx, &out)
				return out.Payload(), err
			})
			awaitKill()
			noError(t, w.Start())
			result, err := r.result()
			noError(t, err)
			clear, err := encrypting{}.Decode([]*commonpb.Payload{result})
			noError(t, err)
			if !bytes.Contains(clear[0].Data, []byte(secret)) || bytes.Contains(result.Data, []byte(secret)) {
				t.Errorf("the workflow got %q, which is %q", result, clear)
			}
			e.checkNotInClear(name)
		})
	}
}

// checkNotInClear holds that the secret is nowhere in an archive, which has one commit
// with a result.
func (e *env) checkNotInClear(key string) {
	e.t.Helper()
	raw, err := os.ReadFile(e.archive(key))
	noError(e.t, err)
	z, err := gzip.NewReader(bytes.NewReader(raw))
	noError(e.t, err)
	content, err := io.ReadAll(z)
	noError(e.t, err)
	records := e.log(key)
	if len(records) != 1 || !bytes.Contains(records[0].Result, []byte(encrypted)) {
		e.t.Fatalf("%d commits; the result is kept as %q", len(records), records[0].Result)
	}
	said, err := json.Marshal(records)
	noError(e.t, err)
	for where, b := range map[string][]byte{"archive": raw, "tar": content, "log": said, "result": records[0].Result} {
		if bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte("json/plain")) {
			e.t.Errorf("the %s has a result in clear", where)
		}
	}
}
