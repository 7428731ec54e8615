package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/workdir/workdir/store"
	_ "github.com/workdir/workdir/store/drivers/azure" // what is measured
)

// azureServer is Azurite. It keeps blobs in memory, and for some minutes also removed ones.
type azureServer struct {
	*localServer
	client *azblob.Client
}

// The account that every emulator of Azure has, see its documentation.
const (
	azureAccount = "devstoreaccount1"
	azureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

func startAzure(string) (transferCloud, error) {
	const programs = "../azurite/node_modules/.bin/"
	args := func(address string) []string {
		host, port, _ := strings.Cut(address, ":")
		return []string{"build/tools/bin/" + programs + "azurite-blob", "--inMemoryPersistence", "--blobHost", host, "--blobPort", port,
			"--silent", "--disableTelemetry", "--skipApiVersionCheck"}
	}
	s, err := startLocal(programs+"node", args)
	if err != nil {
		return nil, err
	}
	client, err := azureClient("http://" + s.address)
	return azureServer{s, client}, err
}

// azureMost is the largest archive for Azurite, in bytes: those of all rounds may be in
// memory.
const azureMost = 256 << 20

func (s azureServer) title() string {
	return "Azure Blob Storage's protocol, to Azurite (which, slowly, computes a checksum of its own for what comes without one, as from the SDK)"
}
func (s azureServer) size(c config) int64 { return min(c.transfer, azureMost) }

func (s azureServer) makeBucket(ctx context.Context) error {
	_, err := s.client.CreateContainer(ctx, transferBucket, nil)
	return err
}

func (s azureServer) removeObject(ctx context.Context) error {
	_, err := s.client.DeleteBlob(ctx, transferBucket, transferObject, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil
	}
	return err
}

// env is without the user's own configuration of Azure's clients.
func (s azureServer) env() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AZURE_") })
}

func (s azureServer) composer(source string) *exec.Cmd {
	return ourselves("azure-compose", s.address, s.env())(source, true)
}

func (s azureServer) transferrers(c config) []transferrer {
	return append(workdirs(c, "azure-workdir", s.address, s.env()), []transferrer{
		{"Azure SDK for Go, UploadStream and DownloadFile", ourselves("azure-sdk", s.address, s.env())},
		{"rclone copyto", rclone("azureblob", append(s.env(), "RCLONE_AZUREBLOB_SAS_URL="+s.signed()))},
		{"adlfs (the ancestor's client)", fsspec(c.python, "import adlfs; fs = adlfs.AzureBlobFileSystem(connection_string=\""+azureConnection("http://"+s.address)+"\")", s.address, s.env())},
	}...)
}

// signed is an address of the container that needs no other credentials: rclone supports an
// emulator only at its usual port. An error shows up when rclone is refused.
func (s azureServer) signed() string {
	may := sas.ContainerPermissions{Read: true, List: true, Create: true, Write: true, Delete: true}
	address, _ := s.client.ServiceClient().NewContainerClient(transferBucket).GetSASURL(may, time.Now().Add(24*time.Hour), nil)
	return address
}

func azureConnection(endpoint string) string {
	return "DefaultEndpointsProtocol=http;AccountName=" + azureAccount + ";AccountKey=" + azureKey + ";BlobEndpoint=" + endpoint + "/" + azureAccount + ";"
}

func azureClient(endpoint string) (*azblob.Client, error) {
	return azblob.NewClientFromConnectionString(azureConnection(endpoint), nil)
}

func azureURL(endpoint string) store.URL {
	return store.URL{Scheme: "azblob", Bucket: transferBucket, Query: "protocol=http&domain=" + strings.TrimPrefix(endpoint, "http://")}
}

// Parts as the store has them, since the SDK's own default is one at a time.
const (
	azurePart   = 8 << 20 // bytes
	azureAtOnce = 4
)

func putByAzure(ctx context.Context, endpoint string, f *os.File) error {
	c, err := azureClient(endpoint)
	if err != nil {
		return err
	}
	_, err = c.UploadStream(ctx, transferBucket, transferObject, f, &azblob.UploadStreamOptions{BlockSize: azurePart, Concurrency: azureAtOnce})
	return err
}

func getByAzure(ctx context.Context, endpoint string, f *os.File) error {
	c, err := azureClient(endpoint)
	if err != nil {
		return err
	}
	_, err = c.DownloadFile(ctx, transferBucket, transferObject, f, &azblob.DownloadFileOptions{BlockSize: azurePart, Concurrency: azureAtOnce})
	return err
}
