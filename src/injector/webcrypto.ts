/**
 * Types of Web Cryptography under the names that the declarations of @peculiar/x509 know them by. Those are the DOM's,
 * which is not among the libraries here; Node has the same ones elsewhere.
 */
import type { webcrypto } from 'node:crypto';

export type KeyPair = webcrypto.CryptoKeyPair;

declare global {
  type Algorithm = webcrypto.Algorithm;
  type AlgorithmIdentifier = webcrypto.AlgorithmIdentifier;
  type BufferSource = ArrayBuffer | ArrayBufferView<ArrayBuffer>;
  type CryptoKeyPair = webcrypto.CryptoKeyPair;
  type EcdsaParams = webcrypto.EcdsaParams;
  type EcKeyGenParams = webcrypto.EcKeyGenParams;
  type EcKeyImportParams = webcrypto.EcKeyImportParams;
  type KeyUsage = webcrypto.KeyUsage;
  type RsaHashedImportParams = webcrypto.RsaHashedImportParams;
}
