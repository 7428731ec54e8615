package stores

import (
	"context"
	"errors"
	"io"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

// fakeGCS stands for Google Cloud Storage. It keeps objects in memory.
type fakeGCS struct{}

func (fakeGCS) command(at place) (args, env []string) {
	host, port := splitAddress(at.address)
	return []string{at.tools + "/bin/fake-gcs-server", "-scheme", "http", "-host", host, "-port", port,
		"-backend", "memory", "-public-host", at.address, "-log-level", "error"}, nil
}

func (fakeGCS) query(string) string { return "" }

func (fakeGCS) env(address string) []string {
	// gcsfs, which the ancestor uses, would look for a server of gRPC first.
	return []string{"STORAGE_EMULATOR_HOST=" + address, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false"}
}

func (fakeGCS) client(ctx context.Context, address string) (client, error) {
	c, err := storage.NewClient(ctx, option.WithEndpoint("http://"+address+"/storage/v1/"), option.WithoutAuthentication(), storage.WithJSONReads())
	if err != nil {
		return nil, err
	}
	return &gsClient{c}, nil
}

type gsClient struct{ *storage.Client }

const gsProject = "project"

func (c *gsClient) ready(ctx context.Context) error {
	_, err := c.Buckets(ctx, gsProject).Next()
	if errors.Is(err, iterator.Done) {
		return nil
	}
	return err
}

func (c *gsClient) makeBucket(ctx context.Context, bucket string) error {
	return c.Client.Bucket(bucket).Create(ctx, gsProject, nil)
}

func (c *gsClient) names(ctx context.Context, bucket string) ([]string, error) {
	var names []string
	objects := c.Client.Bucket(bucket).Objects(ctx, nil)
	for {
		o, err := objects.Next()
		if errors.Is(err, iterator.Done) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, o.Name)
	}
}

// hidden returns nothing: an upload that was not finished cannot be listed, and
// expires by itself.
func (c *gsClient) hidden(context.Context, string) ([]string, error) { return nil, nil }

func (c *gsClient) put(ctx context.Context, bucket, name string, content []byte) error {
	w := c.Client.Bucket(bucket).Object(name).NewWriter(ctx)
	_, err := w.Write(content)
	return errors.Join(err, w.Close())
}

func (c *gsClient) get(ctx context.Context, bucket, name string) ([]byte, error) {
	r, err := c.Client.Bucket(bucket).Object(name).NewReader(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	return io.ReadAll(r)
}

func (c *gsClient) remove(ctx context.Context, bucket, name string) error {
	return c.Client.Bucket(bucket).Object(name).Delete(ctx)
}

func (c *gsClient) close() error { return c.Client.Close() }
