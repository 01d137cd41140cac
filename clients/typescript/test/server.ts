// A gRPC server within the test, for what the job engine's own server can't be made to do.
import {
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type UntypedHandleCall,
} from "@grpc/grpc-js";

/** A server on a free port of this machine. */
export class TestServer implements AsyncDisposable {
  address = "";
  readonly #server = new Server();

  /** Answer a method. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    handle: handleUnaryCall<MessageShape<I>, MessageShape<O>>,
  ): this {
    return this.#add(method, handle as UntypedHandleCall, false);
  }

  /** Answer a method with a stream. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    handle: handleServerStreamingCall<MessageShape<I>, MessageShape<O>>,
  ): this {
    return this.#add(method, handle as UntypedHandleCall, true);
  }

  /** Begin to serve. */
  async start(credentials = ServerCredentials.createInsecure()): Promise<this> {
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", credentials, (error, bound) => {
        if (error) {
          reject(error);
        } else {
          resolve(bound);
        }
      });
    });
    this.address = `localhost:${port}`;
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    return Promise.resolve();
  }

  #add(method: DescMethod, handle: UntypedHandleCall, responseStream: boolean): this {
    const definition: MethodDefinition<unknown, unknown> = {
      path: `/${method.parent.typeName}/${method.name}`,
      requestStream: false,
      responseStream,
      requestSerialize: () => Buffer.of(),
      requestDeserialize: (bytes) => fromBinary(method.input, bytes),
      responseSerialize: (value) =>
        Buffer.from(toBinary(method.output, value as MessageShape<DescMessage>)),
      responseDeserialize: () => undefined,
    };
    this.#server.addService({ method: definition }, { method: handle });
    return this;
  }
}
