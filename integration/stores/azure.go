package stores

import (
	"context"
	"io"
	"net"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// azurite stands for Azure Blob Storage. It keeps blobs in memory.
type azurite struct{}

// The account that every emulator of Azure has, see its documentation.
const (
	azureAccount = "devstoreaccount1"
	azureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

func (azurite) command(at place) (args, env []string) {
	host, port := splitAddress(at.address)
	programs := at.tools + "/azurite/node_modules/.bin/"
	// The clients of Python are of a later version than the server knows.
	return []string{programs + "node", programs + "azurite-blob",
		"--inMemoryPersistence", "--blobHost", host, "--blobPort", port,
		"--silent", "--disableTelemetry", "--skipApiVersionCheck"}, nil
}

func (azurite) query(address string) string {
	return "protocol=http&domain=" + address + "&localemu=true"
}

func (azurite) env(address string) []string {
	return []string{
		"AZURE_STORAGE_ACCOUNT=" + azureAccount, "AZURE_STORAGE_KEY=" + azureKey,
		// What the ancestor's client reads instead.
		"WORKDIR_AZURE_CONNECTION_STRING=" + azureConnection(address),
	}
}

func azureEndpoint(address string) string { return "http://" + address + "/" + azureAccount }

func azureConnection(address string) string {
	return "DefaultEndpointsProtocol=http;AccountName=" + azureAccount + ";AccountKey=" + azureKey +
		";BlobEndpoint=" + azureEndpoint(address) + ";"
}

func (azurite) client(_ context.Context, address string) (client, error) {
	c, err := azblob.NewClientFromConnectionString(azureConnection(address), nil)
	if err != nil {
		return nil, err
	}
	return &azureClient{c}, nil
}

type azureClient struct{ *azblob.Client }

func (c *azureClient) ready(ctx context.Context) error {
	_, err := c.NewListContainersPager(nil).NextPage(ctx)
	return err
}

func (c *azureClient) makeBucket(ctx context.Context, bucket string) error {
	_, err := c.CreateContainer(ctx, bucket, nil)
	return err
}

func (c *azureClient) names(ctx context.Context, bucket string) ([]string, error) {
	var names []string
	pages := c.NewListBlobsFlatPager(bucket, nil)
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range page.Segment.BlobItems {
			names = append(names, *b.Name)
		}
	}
	return names, nil
}

// hidden returns nothing: blocks that were not committed are removed by Azure itself,
// after a week, and otherwise only by committing the blob.
func (c *azureClient) hidden(context.Context, string) ([]string, error) { return nil, nil }

func (c *azureClient) put(ctx context.Context, bucket, name string, content []byte) error {
	_, err := c.UploadBuffer(ctx, bucket, name, content, nil)
	return err
}

func (c *azureClient) get(ctx context.Context, bucket, name string) ([]byte, error) {
	r, err := c.DownloadStream(ctx, bucket, name, nil)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

func (c *azureClient) remove(ctx context.Context, bucket, name string) error {
	_, err := c.DeleteBlob(ctx, bucket, name, nil)
	return err
}

func (c *azureClient) close() error { return nil }

func splitAddress(address string) (host, port string) {
	host, port, _ = net.SplitHostPort(address) // one that we have listened on
	return host, port
}
