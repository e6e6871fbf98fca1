import * as path from 'node:path';
import { Client, credentials, type ServiceDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const definitions = loadSync(path.join(import.meta.dirname, 'cri.proto'), { longs: Number, enums: String, defaults: true });

/** Kubernetes' way to a container runtime: gRPC on a unix socket. */
export class CriClient {
  readonly #client: Client;

  constructor(socketPath: string) {
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure());
  }

  /** What cri.proto says that the method answers; a refusal rejects with a ServiceError, whose message tells why. */
  request<Answer>(method: string, params: object = {}, service = 'RuntimeService', timeoutMs = 30_000): Promise<Answer> {
    const definition = (definitions[`runtime.v1.${service}`] as ServiceDefinition | undefined)?.[method];
    if (definition === undefined) throw new Error(`cri.proto has no ${service}.${method}`);
    const { path: name, requestSerialize, responseDeserialize } = definition;
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + timeoutMs;
      this.#client.makeUnaryRequest(
        name,
        (value: object) => requestSerialize(value),
        (bytes) => responseDeserialize(bytes) as Answer, // made from the message that the method answers with
        params,
        { deadline },
        (error: ServiceError | null, answer?: Answer) => {
          if (error !== null) reject(error);
          else if (answer !== undefined) resolve(answer);
        },
      );
    });
  }

  close(): void {
    this.#client.close();
  }
}
