// Package stores starts the servers that stand for the clouds, versitygw for S3,
// fake-gcs-server for Google Cloud Storage and Azurite for Azure Blob Storage, and
// its tests hold the drivers, the command and the ancestor's clients against them.
//
// The servers come from build/tools, where scripts/deps.sh installs them. They
// listen on 127.0.0.1, keep everything in memory or in a directory of their own,
// and end with the process that started them.
package stores
