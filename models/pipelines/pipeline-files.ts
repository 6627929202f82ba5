/** The files of a pipeline folder, wherever they are kept: a folder, an artifact store, an archive. */
export interface PipelineFiles {
  /** Name of the pipeline, for people: the folder's name. */
  readonly name: string;
  /** Paths of all files, relative to the folder, with `/` between segments. */
  paths(): readonly string[];
  /** The bytes of one of them. */
  read(path: string): Uint8Array;
}
